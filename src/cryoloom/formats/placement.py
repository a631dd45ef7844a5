"""Put a stack or volume under a name another program expects, without copying where the disk allows it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Literal

from cryoloom.errors import TransientError
from cryoloom.formats.mrc import MrcSink
from cryoloom.model import Pixels

__all__ = ["place_pixels"]

# No link between two disks, none on this kind of disk, none to a file of another user, too many links.
_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}


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
