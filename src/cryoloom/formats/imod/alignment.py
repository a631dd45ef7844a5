"""An alignment in IMOD's files: .xf, .tlt, .xtilt, .rawtlt, tilt.com, newst.com and local .xf.

NAME may have ``_st`` after it (AreTomo's ``-OutImod``). Transforms become poses as `imod_transforms` derives;
tilt.com's OFFSET and XAXISTILT are part of the tilts as `imod_commands` derives. SHIFT, and newst.com's
OffsetsInXandY, which say where in the specimen the tomogram lies, move the origin only where that is asked
for. An axis of a pair (NAMEa, NAMEb) has tilta.com and newsta.com.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.foreign_alignment import ForeignAlignment, ForeignView
from cryoloom.formats.imod.commands import (
    NewstackCommand,
    TiltCommand,
    read_newstack_command,
    read_tilt_command,
)
from cryoloom.formats.imod.image_warp import warps_of_imod
from cryoloom.formats.imod.local_alignment import LocalAlignment, read_local_xf
from cryoloom.formats.imod.transforms import poses_from_xf, read_angles, read_xf
from cryoloom.geometry.rotations import rotation_z
from cryoloom.model import Pose

__all__ = ["command_beside", "imod_files", "read_imod"]

_LEAST_REPORTED_PX = 0.25
"""Rounding of displacements, finer than the accuracy of such an alignment."""


def read_imod(
    xf: Path, shape_yx: tuple[int, int], pixel_size_angstrom: float, *, keep_shift: bool = False
) -> ForeignAlignment:
    """Poses of the files beside an ``.xf``, for images of this shape and pixel size.

    keep_shift : take the centre of IMOD's tomogram (SHIFT of tilt.com, offsets of newst.com) as the origin.
    """
    transforms = read_xf(xf)
    n_views = len(transforms)
    command, newstack = _commands(xf)
    notes: list[str] = []
    tilt, raw = _beside(xf, ".tlt"), _beside(xf, ".rawtlt")
    if tilt is None and raw is None:
        raise DataUnfitError(
            f"no tilt angles lie beside {xf}; expected {xf.stem}.tlt or {xf.stem}.rawtlt with {n_views} lines"
        )
    solved, nominal = _angles(tilt or raw, n_views, xf), _angles(raw, n_views, xf)
    x_tilt = _angles(_beside(xf, ".xtilt"), n_views, xf)
    if solved is None:
        raise DataUnfitError(f"{tilt or raw} holds no angles")
    tilts = solved + command.tilt_offset_deg
    x_tilts = (np.zeros(n_views) if x_tilt is None else x_tilt) - command.x_axis_tilt_deg
    full = command.full_image_xy
    pixel_size = pixel_size_angstrom
    if full is not None and full not in ((shape_yx[1], shape_yx[0]), (shape_yx[0], shape_yx[1])):
        notes.append(f"tilt.com was made for images of {full[0]} x {full[1]} pixels, the series has others")
    poses = poses_from_xf(transforms, tilts, pixel_size, shape_yx, x_tilts)
    if command.has_z_factors:
        notes.append("its z-factors (distortion that grows with height) are left out")
    local_file = _local_file(xf, command)
    local = None if local_file is None else read_local_xf(local_file, n_views)
    poses = _warped(poses, transforms, local, command, pixel_size, shape_yx, notes)
    if keep_shift:
        poses = tuple(_with_origin_of_tomogram(pose, command, newstack, pixel_size) for pose in poses)
    elif any(newstack.offset_xy_px):
        x, y = newstack.offset_xy_px
        notes.append(
            f"newst.com's OffsetsInXandY {x:g} {y:g} only say where its tomogram lies: origin=tomogram takes "
            "them"
        )
    views = tuple(
        ForeignView(
            pose,
            section=i,
            tilt_deg=float(solved[i] if nominal is None else nominal[i]),
            used=i not in command.excluded_views,
        )
        for i, pose in enumerate(poses)
    )
    return ForeignAlignment(xf, views, notes=tuple(notes), settings=_settings(xf, command, newstack))


def _commands(xf: Path) -> tuple[TiltCommand, NewstackCommand]:
    """From tilt.com and newst.com beside the transforms; empty without them."""
    tilt, newstack = command_beside(xf, "tilt"), command_beside(xf, "newst")
    return (
        TiltCommand() if tilt is None else read_tilt_command(tilt),
        NewstackCommand() if newstack is None else read_newstack_command(newstack),
    )


def imod_files(xf: Path) -> tuple[Path, ...]:
    """All files that `read_imod` takes into account, there or not."""
    commands = [path for program in ("tilt", "newst") if (path := command_beside(xf, program)) is not None]
    local = _local_file(xf, _commands(xf)[0])
    angles = [xf.with_suffix(suffix) for suffix in (".tlt", ".rawtlt", ".xtilt")]
    return (xf, *angles, *commands, *([] if local is None else [local]))


def command_beside(path: Path, program: str) -> Path | None:
    """A series' own command file (``tilt.com``, of axis a ``tilta.com``) beside another of its files."""
    names = [f"{path.stem}_{program}.com", f"{program}.com"]
    if path.stem[-1:] in ("a", "b"):
        names.insert(1, f"{program}{path.stem[-1]}.com")
    return next((found for name in names if (found := path.parent / name).is_file()), None)


def _settings(xf: Path, command: TiltCommand, newstack: NewstackCommand) -> dict[str, float | str]:
    """Settings of the lab's tomogram from its command files; empty without them."""
    if command_beside(xf, "tilt") is None and command_beside(xf, "newst") is None:
        return {}
    settings: dict[str, float | str] = {
        "binning": max(command.binning, newstack.binning),
        "tilt_offset_deg": command.tilt_offset_deg,
        "x_axis_tilt_deg": command.x_axis_tilt_deg,
        "axis_offset_px": command.axis_offset_px,
        "tomogram_shift_x_px": command.shift_xz_px[0],
        "tomogram_shift_z_px": command.shift_xz_px[1],
        "stack_offset_x_px": newstack.offset_xy_px[0],
        "stack_offset_y_px": newstack.offset_xy_px[1],
    }
    if command.thickness_px is not None:
        settings["thickness_px"] = command.thickness_px
    if newstack.size_xy is not None:
        settings["stack_width_px"], settings["stack_height_px"] = newstack.size_xy
    if command.local_file is not None:
        settings["local_file"] = command.local_file
    if newstack.transform_file is not None:
        settings["transform_file"] = newstack.transform_file
    return settings


def _local_file(xf: Path, command: TiltCommand) -> Path | None:
    if command.local_file is None:
        return None
    path = xf.parent / command.local_file
    return path if path.is_file() else None


def _beside(xf: Path, suffix: str) -> Path | None:
    path = xf.with_suffix(suffix)
    return path if path.is_file() else None


def _angles(path: Path | None, n_views: int, xf: Path) -> NDArray[np.float64] | None:
    if path is None:
        return None
    angles = read_angles(path)
    if len(angles) != n_views:
        raise DataUnfitError(
            f"{path.name} has {len(angles)} angles and {xf.name} {n_views} transforms; give files of one run"
        )
    return angles


def _warped(
    poses: tuple[Pose, ...],
    transforms: NDArray[np.float64],
    local: LocalAlignment | None,
    command: TiltCommand,
    pixel_size_angstrom: float,
    shape_yx: tuple[int, int],
    notes: list[str],
) -> tuple[Pose, ...]:
    """Poses with their additions: stretch, skew and local alignment."""
    height = (command.thickness_px or 0) / 2 * pixel_size_angstrom
    found = warps_of_imod(transforms, local, poses, pixel_size_angstrom, shape_yx, height_angstrom=height)
    lost = max(found.misfit_px, found.misfit_at_height_px)
    if lost > _LEAST_REPORTED_PX:
        what = "stretch and skew" if local is None else "stretch, skew and local alignment"
        notes.append(
            f"its {what}, up to {found.largest_px:.1f} pixels, are taken as a displacement of each image, "
            f"which is {found.misfit_px:.2f} pixels rms from them on the tilt axis' plane and "
            f"{found.misfit_at_height_px:.2f} at the top and bottom of its tomogram"
        )
    return tuple(replace(pose, warp=warp) for pose, warp in zip(poses, found.warps, strict=True))


def _with_origin_of_tomogram(
    pose: Pose, command: TiltCommand, newstack: NewstackCommand, pixel_size_angstrom: float
) -> Pose:
    """The pose for positions from the centre of IMOD's tomogram.

    IMOD shows the specimen's point (x, zz) at (x + shift_x + axis_offset, zz + shift_z), and turns about
    axis_offset in the aligned image, whose centre newst.com's offset has moved; our z is -zz.
    """
    shift_x, shift_z = command.shift_xz_px
    offset = np.array([-shift_x - command.axis_offset_px, 0.0, shift_z]) * pixel_size_angstrom
    offset_x, offset_y = newstack.offset_xy_px
    turned_about = np.array([offset_x + command.axis_offset_px, offset_y])
    across = rotation_z(pose.axis_deg)[:2, :2] @ turned_about * pixel_size_angstrom
    moved = pose.magnification * ((pose.matrix @ offset)[:2] + across)
    x, y = np.array(pose.shift_xy_angstrom) + moved
    return replace(pose, shift_xy_angstrom=(float(x), float(y)))
