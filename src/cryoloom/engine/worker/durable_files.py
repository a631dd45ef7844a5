"""Files that are complete or absent, also after a power failure."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from cryoloom.errors import TransientError

__all__ = ["write_durably"]


def write_durably(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under a temporary name, flush it to the disk and rename it; its folder is made.

    Raises TransientError if the disk cannot write.
    """
    part = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise TransientError(
            f"{path} cannot be written: {error.strerror}; free space on that disk, then resume"
        ) from error
