"""An alignment in IMOD's files: .xf, .tlt, .xtilt, .rawtlt, tilt.com and local .xf.

NAME may have ``_st`` after it (AreTomo's ``-OutImod``). Transforms become poses as `imod_transforms` derives;
tilt.com's OFFSET and XAXISTILT are part of the tilts as `imod_commands` derives. SHIFT, which says where in
the specimen the tomogram lies, moves the origin only where that is asked for.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.formats.foreign_alignment import ForeignAlignment, ForeignView
from cryoloom.formats.imod_commands import TiltCommand, read_tilt_command
from cryoloom.formats.imod_local import read_local_xf
from cryoloom.formats.imod_transforms import poses_from_xf, read_angles, read_xf
from cryoloom.model import Pose

__all__ = ["read_imod"]


def read_imod(
    xf: Path, shape_yx: tuple[int, int], pixel_size_angstrom: float, *, keep_shift: bool = False
) -> ForeignAlignment:
    """Poses of the files beside an ``.xf``, for images of this shape and pixel size.

    keep_shift : take the centre of IMOD's tomogram (SHIFT of tilt.com) as the origin.
    """
    transforms = read_xf(xf)
    n_views = len(transforms)
    command = _tilt_command(xf)
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
    distorted = _largest_distortion(transforms) * max(shape_yx) / 2
    if distorted > 1.0:
        notes.append(
            f"its stretch and skew, {distorted:.1f} pixels at the image's edge, are left out: poses know "
            "rotation, "
            "shift and one magnification"
        )
    if command.has_z_factors:
        notes.append("its z-factors (distortion that grows with height) are left out")
    if local := _local_file(xf, command):
        n_x, n_y = read_local_xf(local, n_views).n_areas_xy
        notes.append(f"the local alignment of {n_x} x {n_y} areas is not used: poses are of whole images")
    if keep_shift:
        poses = tuple(_with_origin_of_tomogram(pose, command, pixel_size) for pose in poses)
    views = tuple(
        ForeignView(
            pose,
            section=i,
            tilt_deg=float(solved[i] if nominal is None else nominal[i]),
            used=i not in command.excluded_views,
        )
        for i, pose in enumerate(poses)
    )
    return ForeignAlignment(xf, views, notes=tuple(notes))


def _tilt_command(xf: Path) -> TiltCommand:
    """Of tilt.com beside the transforms; what it tells without one is nothing."""
    for name in ("tilt.com", f"{xf.stem}_tilt.com"):
        if (xf.parent / name).is_file():
            return read_tilt_command(xf.parent / name)
    return TiltCommand()


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


def _largest_distortion(transforms: NDArray[np.float64]) -> float:
    """Largest relative difference between the two magnifications of a transform, halved."""
    singular = np.linalg.svd(transforms[:, :, :2], compute_uv=False)
    return float(np.max((singular[:, 0] - singular[:, 1]) / (singular[:, 0] + singular[:, 1])))


def _with_origin_of_tomogram(pose: Pose, command: TiltCommand, pixel_size_angstrom: float) -> Pose:
    """The pose for positions from the centre of IMOD's tomogram.

    IMOD shows the specimen's point (x, zz) at (x + shift_x + axis_offset, zz + shift_z), and turns about
    axis_offset in the aligned image; our z is -zz.
    """
    shift_x, shift_z = command.shift_xz_px
    offset = np.array([-shift_x - command.axis_offset_px, 0.0, shift_z]) * pixel_size_angstrom
    axis = np.deg2rad(pose.axis_deg)
    across = command.axis_offset_px * pixel_size_angstrom * np.array([np.cos(axis), np.sin(axis)])
    moved = pose.magnification * ((pose.matrix @ offset)[:2] + across)
    x, y = np.array(pose.shift_xy_angstrom) + moved
    return replace(pose, shift_xy_angstrom=(float(x), float(y)))
