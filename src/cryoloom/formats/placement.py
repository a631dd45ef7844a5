"""What every export needs: pixels under the name a program expects, and a word on what was left out."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from cryoloom.errors import DataUnfitError, TransientError, UserInputError
from cryoloom.formats.mrc import MrcSink
from cryoloom.model import Pixels, TiltSeries, Tomogram

__all__ = ["exportable", "place_pixels", "write_notes"]

ExportItem = tuple[TiltSeries, Tomogram | None]

# No link between two disks, none on this kind of disk, none to a file of another user, too many links.
_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}


def exportable(
    items: Sequence[ExportItem], check: Callable[[TiltSeries], None]
) -> tuple[list[ExportItem], list[str]]:
    """Items that pass ``check``, and a sentence on each that does not; raises if none is left."""
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
    if not fit:
        raise DataUnfitError("no series can be exported. " + " ".join(notes))
    return fit, notes


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
) -> Path:
    """File of ``pixels`` as ``destination``; anything there is replaced at once, never half.

    With ``link`` it is a hard link to the pixels' own file (no space, and it survives the project's
    deletion; a program that edits it in place edits both), or a copy where the disk cannot link.
    """
    source = getattr(pixels, "path", None)
    part = destination.with_name(f".{destination.name}.part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        if source is None or not Path(source).is_file():
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
    """Write pixels that have no file, section by section."""
    sink = MrcSink(destination, pixels.shape, pixel_size_angstrom, kind=kind)
    try:
        for section in range(pixels.shape[0]):
            sink[section] = pixels[section]
        return sink.commit().path
    except BaseException:
        sink.discard()
        raise
