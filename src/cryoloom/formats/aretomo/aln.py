"""AreTomo's ``.aln`` files: read as poses, written from them.

AreTomo samples ``raw = T + Rz(ROT) aligned`` about the middle of the image (its ``GCorrPatchShift.cu``), and
writes IMOD transforms with ``A = Rz(-ROT)`` and ``d = -A T`` (``CSaveXF.cpp``; versions 2 and 3). So ROT is
our axis, ``(TX, TY)`` pixels are our shift but for the half pixel between IMOD's middle and ours
(imod_transforms), and TILT, which has AlphaOffset in it, is the pose's tilt. SEC counts the raw stack's
sections from 1 (AreTomo2 of 2022 and before: from 0). Dark frames have no row, and some versions count SEC
without them.

AreTomo knows no x-tilt: one that all tilts share is a turn of the specimen and left out, one that varies is
refused. GMAG is always 1.

Local rows are shifts of patches of an image. Before T is added, a point q gets the mean of the good patches'
shifts, weighted by ``exp(-100 |(q - patch) / size|^2)`` (``GCorrPatchShift.cu`` of AreTomo2): that mean, over
the image, becomes the pose's displacement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.ctffind import write_aretomo_ctf
from cryoloom.formats.exchange.foreign_alignment import ForeignAlignment, ForeignView, scaled_pixel_size
from cryoloom.formats.exchange.placement import (
    exportable,
    place_pixels,
    poses_by_section,
    require_one_magnification,
    require_one_x_tilt,
    write_notes,
)
from cryoloom.formats.imod.transforms import half_pixel_xy
from cryoloom.model import ImageWarp, Pose, Tilt, TiltSeries, Tomogram

__all__ = ["AlnFile", "read_aln", "read_aretomo", "write_aln", "write_aretomo"]

_GLOBAL_COLUMNS = 10
_LOCAL_COLUMNS = 7
"""Columns of AreTomo's tables: per tilt, and per patch of a tilt."""
_WARP_CONTROLS = 10
"""Along x and y: AreTomo's weights fall to 1/e within a tenth of the image."""
_LEAST_MISFIT_PX = 0.25
"""Chosen: a smaller misfit is not mentioned."""


@dataclass(frozen=True, slots=True)
class AlnFile:
    """An ``.aln`` file as it is. Shifts and positions are in pixels of the raw images."""

    raw_shape: tuple[int, int, int]
    """(section, y, x) of the raw stack."""
    section: NDArray[np.int64]
    """(n,) as written."""
    axis_deg: NDArray[np.float64]
    shift_xy_px: NDArray[np.float64]
    """(n, 2)."""
    tilt_deg: NDArray[np.float64]
    dark_frames: tuple[tuple[int, int, float], ...] = ()
    """Place in order of tilt, section and tilt of each image left out."""
    alpha_offset_deg: float = 0.0
    """Contained in ``tilt_deg``."""
    beta_offset_deg: float = 0.0
    thickness_px: int | None = None
    local: NDArray[np.float64] | None = None
    """(n * n_patches, 7): view, patch, x, y (pixels from the middle), dx, dy, 1 where it is good."""


def read_aln(path: Path) -> AlnFile:
    """Read an ``.aln`` file, global and local."""
    header: dict[str, list[str]] = {}
    rows: list[list[float]] = []
    try:
        for line in path.read_text(encoding="latin-1").splitlines():
            if line.startswith("#"):
                name, _, value = line[1:].partition("=")
                header.setdefault(name.strip(), []).append(value.strip())
            elif line.strip():
                rows.append([float(word) for word in line.split()])
        n_x, n_y, n_sections = (int(word) for word in header["RawSize"][0].split())
        n_patches = int(header.get("NumPatches", ["0"])[0])
        dark = tuple(
            (int(place), int(section), float(tilt))
            for place, section, tilt in (value.split() for value in header.get("DarkFrame", []))
        )
        offsets = [float(header.get(name, ["0"])[0]) for name in ("AlphaOffset", "BetaOffset")]
        thickness = int(float(header["Thickness"][0])) if "Thickness" in header else None
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataUnfitError(
            f"{path} is not an AreTomo alignment: expected '# RawSize = x y n', then a line of SEC ROT "
            "GMAG TX "
            f"TY SMEAN SFIT SCALE BASE TILT for each image ({error})"
        ) from error
    unreal = next((i for i, row in enumerate(rows) if not np.isfinite(row).all()), None)
    if unreal is not None:
        raise DataUnfitError(
            f"row {unreal + 1} of {path.name} holds a number that is not finite; expected numbers. AreTomo "
            "writes such rows where its alignment fails: align the series again"
        )
    table = np.array([row for row in rows if len(row) == _GLOBAL_COLUMNS])
    local = np.array([row for row in rows if len(row) == _LOCAL_COLUMNS])
    if len(table) == 0 or len(table) + len(local) != len(rows) or len(local) != n_patches * len(table):
        raise DataUnfitError(
            f"{path} holds {len(table)} lines of images and {len(local)} of {n_patches} patches, among "
            f"{len(rows)} lines; expected a line for each image and each patch in it",
        )
    return AlnFile(
        (n_sections, n_y, n_x),
        table[:, 0].astype(np.int64),
        table[:, 1],
        table[:, 3:5],
        table[:, 9],
        dark,
        offsets[0],
        offsets[1],
        thickness,
        local if len(local) else None,
    )


def write_aln(path: Path, aln: AlnFile) -> None:
    """Write an ``.aln`` file with more digits than AreTomo writes; it and others read any number of them."""
    n_sections, n_y, n_x = aln.raw_shape
    n_patches = 0 if aln.local is None else len(aln.local) // len(aln.section)
    lines = [
        "# AreTomo Alignment / Priims bprmMn",
        f"# RawSize = {n_x} {n_y} {n_sections}",
        f"# NumPatches = {n_patches}",
        *(f"# DarkFrame =  {place:4d} {section:4d} {tilt:8.2f}" for place, section, tilt in aln.dark_frames),
        f"# AlphaOffset = {aln.alpha_offset_deg:8.4f}",
        f"# BetaOffset = {aln.beta_offset_deg:8.4f}",
        *([] if aln.thickness_px is None else [f"# Thickness = {aln.thickness_px}"]),
        "# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT",
    ]
    for section, axis, (x, y), tilt in zip(
        aln.section, aln.axis_deg, aln.shift_xy_px, aln.tilt_deg, strict=True
    ):
        lines.append(
            f"{section:5d}  {axis:14.9f}  {1.0:9.5f}  {x:16.9f}  {y:16.9f}  {1.0:7.2f}  {1.0:7.2f}  "
            f"{1.0:7.2f}  "
            f"{0.0:7.2f}  {tilt:14.9f}"
        )
    if aln.local is not None:
        lines.append("# Local Alignment")
        lines += [
            f"{int(view):4d} {int(patch):3d} {x:8.2f}  {y:8.2f}  {dx:12.5f}  {dy:12.5f}  {good:4.1f}"
            for view, patch, x, y, dx, dy, good in aln.local
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_aretomo(path: Path, shape_yx: tuple[int, int], pixel_size_angstrom: float) -> ForeignAlignment:
    """Poses of an ``.aln`` file for a series whose images have this shape and pixel size."""
    aln = read_aln(path)
    raw_yx = aln.raw_shape[1:]
    pixel_size = scaled_pixel_size(path, raw_yx, shape_yx, pixel_size_angstrom)
    shift = (aln.shift_xy_px - half_pixel_xy(raw_yx)) * pixel_size
    zero_based = bool((aln.section == 0).any())
    notes: list[str] = []
    warps = _warps(aln, shift, pixel_size, notes)
    rows = zip(aln.section, aln.axis_deg, shift, aln.tilt_deg, warps, strict=True)
    views = tuple(
        ForeignView(
            Pose(float(axis), float(tilt), shift_xy_angstrom=(float(x), float(y)), warp=warp),
            section=int(section) - (0 if zero_based else 1),
            tilt_deg=float(tilt) - aln.alpha_offset_deg,
        )
        for section, axis, (x, y), tilt, warp in rows
    )
    if aln.beta_offset_deg:
        notes.append(
            f"BetaOffset {aln.beta_offset_deg:g} deg, which AreTomo measures and does not apply, is left out"
        )
    return ForeignAlignment(
        path,
        views,
        aln.raw_shape[0],
        not zero_based and int(aln.section.max()) < aln.raw_shape[0],
        # Versions differ in whether AlphaOffset is contained in these tilts.
        left_out=tuple(
            (section, (tilt, tilt - aln.alpha_offset_deg)) for _, section, tilt in aln.dark_frames
        ),
        notes=tuple(notes),
    )


def _warps(
    aln: AlnFile, shift_xy_angstrom: NDArray[np.float64], pixel_size_angstrom: float, notes: list[str]
) -> list[ImageWarp | None]:
    """Displacement of each image by its patches' shifts; None if no patch is good."""
    n_images = len(aln.section)
    if aln.local is None:
        return [None] * n_images
    size = np.array(aln.raw_shape[:0:-1], dtype=np.float64)
    along = [np.linspace(-0.5, 0.5, 2 * _WARP_CONTROLS) * n for n in size]
    places_px = np.stack(np.meshgrid(*along), axis=-1).reshape(-1, 2)
    warps: list[ImageWarp | None] = []
    misfit_px = 0.0
    for rows, shift in zip(aln.local.reshape(n_images, -1, _LOCAL_COLUMNS), shift_xy_angstrom, strict=True):
        good = rows[rows[:, 6] >= 0.9]
        if len(good) == 0:
            warps.append(None)
            continue
        apart = (places_px[:, None] - shift / pixel_size_angstrom - good[None, :, 2:4]) / size
        # Weights about the nearest patch, so that they do not vanish together far from all of them.
        nearness = -100.0 * (apart**2).sum(axis=2)
        weight = np.exp(nearness - nearness.max(axis=1, keepdims=True))
        moved_px = weight @ good[:, 4:6] / weight.sum(axis=1, keepdims=True)
        extent = (float(size[0]) * pixel_size_angstrom, float(size[1]) * pixel_size_angstrom)
        warp = ImageWarp.fitted(
            places_px * pixel_size_angstrom, moved_px * pixel_size_angstrom, extent, _WARP_CONTROLS
        )
        missed_px = warp.displacement(places_px * pixel_size_angstrom) / pixel_size_angstrom - moved_px
        misfit_px = max(misfit_px, float(np.sqrt((missed_px**2).sum(axis=1).mean())))
        warps.append(warp)
    if misfit_px > _LEAST_MISFIT_PX:
        n_patches = len(aln.local) // n_images
        notes.append(
            f"the local alignment of {n_patches} patches is taken as a smooth displacement of each image, up "
            f"to {misfit_px:.2f} pixels rms from AreTomo's in an image"
        )
    return warps


def write_aretomo(
    items: Sequence[tuple[TiltSeries, Tomogram | None]], directory: Path, *, link: bool = True
) -> tuple[Path, ...]:
    """Files to go on with AreTomo: NAME.mrc, NAME_TLT.txt (angle, order, dose), NAME_CTF.txt, NAME.aln.

    Excluded tilts are dark frames. A series without CTFs gets no ``_CTF.txt``, one without an alignment no
    ``.aln``; one AreTomo cannot describe is left out, which ``NOTES.txt`` says. ``link`` as in
    `place_pixels`.
    """
    fit, notes = exportable(items, check_exportable)
    directory.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for series, tomogram in fit:
        stack = series.unweighted_stack
        tilts, poses = poses_by_section(series)
        path = directory / f"{series.name}.mrc"
        written.append(place_pixels(stack.images, path, stack.pixel_size_angstrom, link=link))
        written.append(_write_angles(directory / f"{series.name}_TLT.txt", tilts))
        if any(tilt.ctf is not None for tilt in tilts):
            written.append(directory / f"{series.name}_CTF.txt")
            write_aretomo_ctf(written[-1], series)
        if poses is None:
            notes.append(f"{series.name}: not aligned, so without an .aln file")
            continue
        if poses[0].x_tilt_deg:
            notes.append(
                f"{series.name}: AreTomo knows no x-tilt; the specimen is turned by "
                f"{poses[0].x_tilt_deg:.2f} "
                "deg about x instead, and so will its tomogram be"
            )
        path = directory / f"{series.name}.aln"
        write_aln(path, _aln_of(series, tomogram, tilts, poses))
        read_aretomo(path, stack.shape_yx, stack.pixel_size_angstrom)
        written.append(path)
    return (*written, *write_notes(directory, notes))


def check_exportable(series: TiltSeries) -> None:
    tilts, poses = poses_by_section(series)
    if poses is not None:
        used = [pose for tilt, pose in zip(tilts, poses, strict=True) if not tilt.is_excluded]
        require_one_magnification(series, used, "AreTomo")
        require_one_x_tilt(series, used, "AreTomo")


def _write_angles(path: Path, tilts: Sequence[Tilt]) -> Path:
    """Angle, order of acquisition from 1, and dose of every section, as AreTomo 2 and 3 read them."""
    lines = [
        f"{tilt.nominal_tilt_deg:8.2f} {tilt.acquisition_index + 1:4d} {tilt.dose_per_angstrom2:8.3f}"
        for tilt in tilts
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _aln_of(
    series: TiltSeries, tomogram: Tomogram | None, tilts: Sequence[Tilt], poses: Sequence[Pose]
) -> AlnFile:
    """Rows in order of tilt, as AreTomo sorts them."""
    stack = series.unweighted_stack
    order = sorted(range(len(tilts)), key=lambda i: (poses[i].tilt_deg, i))
    used = [i for i in order if not tilts[i].is_excluded]
    dark = [(place, i + 1, poses[i].tilt_deg) for place, i in enumerate(order) if tilts[i].is_excluded]
    shift = np.array([poses[i].shift_xy_angstrom for i in used]) / stack.pixel_size_angstrom
    offset = float(np.median([poses[i].tilt_deg - tilts[i].nominal_tilt_deg for i in used]))
    thickness = None
    if tomogram is not None:
        thickness = round(tomogram.volume.shape[0] * tomogram.voxel_size_angstrom / stack.pixel_size_angstrom)
    return AlnFile(
        (len(tilts), *stack.shape_yx),
        np.array(used) + 1,
        np.array([poses[i].axis_deg for i in used]),
        shift + half_pixel_xy(stack.shape_yx),
        np.array([poses[i].tilt_deg for i in used]),
        tuple(dark),
        alpha_offset_deg=offset,
        thickness_px=thickness,
    )
