"""Parts of every export: pixels under the name a program expects, poses it can read, and notes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from cryoloom.errors import DataUnfitError, TransientError, UserInputError
from cryoloom.formats.pixels.mrc import MrcSink
from cryoloom.model import Pixels, Pose, Tilt, TiltSeries, Tomogram

__all__ = [
    "exportable",
    "place_pixels",
    "poses_by_section",
    "require_one_magnification",
    "require_one_x_tilt",
    "write_notes",
]

ExportItem = tuple[TiltSeries, Tomogram | None]

# No link between two disks, none on this kind of disk, none to a file of another user, too many links.
_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}


def exportable(
    items: Sequence[ExportItem],
    check: Callable[[TiltSeries], None],
    *,
    keeps_displacements: bool = False,
) -> tuple[list[ExportItem], list[str]]:
    """Items that pass ``check``, and a sentence on each that does not; raises if none is left.

    keeps_displacements : the format holds local alignments; else a sentence says that they are left out.
    """
    if not items:
        raise UserInputError("nothing to export: no tilt series given; process one first")
    fit, notes = [], []
    for series, tomogram in items:
        try:
            check(series)
        except DataUnfitError as error:
            notes.append(f"{series.name} was left out: {error}")
            continue
        fit.append((series, tomogram))
        warped = any(tilt.pose is not None and tilt.pose.warp is not None for tilt in series.included)
        if warped and not keeps_displacements:
            notes.append(
                f"{series.name}: its local alignment is left out; apply_alignment writes images in which "
                "it is undone"
            )
    if not fit:
        raise DataUnfitError("no series can be exported. " + " ".join(notes))
    return fit, notes


def poses_by_section(series: TiltSeries) -> tuple[list[Tilt], list[Pose] | None]:
    """Tilts by section of the stack, none missing, and the pose of each; None if nothing is aligned.

    An excluded tilt without a pose stands straight. Raises DataUnfitError if a section belongs to no tilt or
    the series is aligned in part.
    """
    tilts = sorted((t for t in series.tilts if t.section is not None), key=lambda t: t.section or 0)
    n_sections = series.unweighted_stack.images.shape[0]
    if [tilt.section for tilt in tilts] != list(range(n_sections)):
        raise DataUnfitError(
            f"the stack of {series.name} has {n_sections} sections, but its tilts name the sections "
            f"{[tilt.section for tilt in tilts]}; import or align its frames again"
        )
    solved = [tilt.pose for tilt in tilts if tilt.pose is not None]
    if not solved:
        return tilts, None
    missing = [t.acquisition_index for t in tilts if t.pose is None and not t.is_excluded]
    if missing:
        raise DataUnfitError(
            f"tilts {missing} of {series.name} have no pose while others have; exclude them or align again"
        )
    axis = float(np.median([pose.axis_deg for pose in solved]))
    offset = series.tilt_offset_deg.applied or 0.0
    return tilts, [tilt.pose or Pose(axis, tilt.nominal_tilt_deg + offset) for tilt in tilts]


def require_one_magnification(series: TiltSeries, poses: Sequence[Pose], program: str) -> None:
    """Refuse poses whose magnification moves the image's edge by more than half a pixel."""
    half_width_px = max(series.unweighted_stack.shape_yx) / 2
    worst = max((abs(pose.magnification - 1.0) for pose in poses), default=0.0)
    if worst * half_width_px > 0.5:
        raise DataUnfitError(
            f"tilts of {series.name} differ in magnification by up to {worst:.4f}, which moves the image's "
            f"edge by {worst * half_width_px:.1f} pixels; {program} cannot describe that. Align without them"
        )


def require_one_x_tilt(series: TiltSeries, poses: Sequence[Pose], program: str) -> None:
    """Refuse x-tilts that differ by what moves the image's edge by more than half a pixel.

    One that all tilts share is a turn of the specimen.
    """
    half_width_px = max(series.unweighted_stack.shape_yx) / 2
    spread = float(np.ptp([pose.x_tilt_deg for pose in poses])) if poses else 0.0
    if np.deg2rad(spread) * half_width_px > 0.5:
        raise DataUnfitError(
            f"tilts of {series.name} differ in x-tilt by {spread:.2f} deg; {program} cannot describe that. "
            "Align "
            "with one x-tilt"
        )


def write_notes(directory: Path, notes: Sequence[str]) -> tuple[Path, ...]:
    """``NOTES.txt`` with what the user must know; no file, and none of an earlier export, without notes."""
    path = directory / "NOTES.txt"
    if not notes:
        path.unlink(missing_ok=True)
        return ()
    path.write_text("\n".join(notes) + "\n", encoding="utf-8")
    return (path,)


def place_pixels(
    pixels: Pixels,
    destination: Path,
    pixel_size_angstrom: float,
    *,
    link: bool,
    kind: Literal["stack", "volume"] = "stack",
    reads_float16: bool = False,
) -> Path:
    """File of ``pixels`` as ``destination``; anything there is replaced at once, never half.

    reads_float16 : the program takes 16-bit floats (MRC mode 12); for others they are written as float32.

    With ``link`` it is a hard link to the pixels' own file (no space, and it survives the project's
    deletion; a program that edits it in place edits both), or a copy where the disk cannot link.
    """
    source = getattr(pixels, "path", None)
    part = destination.with_name(f".{destination.name}.part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        is_unknown = pixels.dtype == np.float16 and not reads_float16
        if source is None or is_unknown or not Path(source).is_file():
            return _written(pixels, destination, pixel_size_angstrom, kind)
        part.unlink(missing_ok=True)
        if not (link and _linked(Path(source), part)):
            shutil.copyfile(source, part)
        # Renaming one of two links of a file onto the other does nothing and leaves both.
        if destination.exists() and destination.samefile(part):
            part.unlink()
        else:
            os.replace(part, destination)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise TransientError(
            f"cannot write {destination}: {error}; free the disk and export again"
        ) from error
    return destination


def _linked(source: Path, part: Path) -> bool:
    """Whether a hard link could be made."""
    try:
        os.link(source.resolve(), part)
    except OSError as error:
        if error.errno in _CANNOT_LINK:
            return False
        raise
    return True


def _written(
    pixels: Pixels, destination: Path, pixel_size_angstrom: float, kind: Literal["stack", "volume"]
) -> Path:
    """Write pixels as float32, section by section."""
    sink = MrcSink(destination, pixels.shape, pixel_size_angstrom, kind=kind)
    try:
        for section in range(pixels.shape[0]):
            sink[section] = pixels[section]
        return sink.commit().path
    except BaseException:
        sink.discard()
        raise
