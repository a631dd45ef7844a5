"""Bytes and seconds as people write them, and read."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from cryoloom.errors import UserInputError
from cryoloom.store.disk import disk_by_run
from cryoloom.store.reading import ProjectReader

__all__ = ["disk_sentence", "duration_text", "parse_size", "size_text"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def size_text(n_bytes: float) -> str:
    """A size in GiB or MiB."""
    return f"{n_bytes / 2**30:.1f} GiB" if n_bytes >= 2**29 else f"{n_bytes / 2**20:.0f} MiB"


def duration_text(seconds: float) -> str:
    """A time in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def parse_size(text: str) -> int:
    """Bytes of ``500GB``, ``1.5 TB`` or ``200GiB``. Raises UserInputError for anything else."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", text, re.IGNORECASE)
    if found is None or (found[3] and not found[2]):
        raise UserInputError(f"{text!r} is not a size; expected a number with a unit, such as 500GB or 1.5TB")
    unit = found[2].upper()
    factor = 1024 ** (" KMGT".index(unit)) if found[3] else _UNITS[unit]
    return round(float(found[1]) * factor)


def disk_sentence(folder: Path) -> str:
    """Disk space of a project, step by step, and the number of further series of its size that fit."""
    with ProjectReader(folder) as reader:
        by_run = disk_by_run(reader, folder)
    free, used = shutil.disk_usage(folder).free, sum(n_bytes for _, n_bytes, _ in by_run)
    if not used:
        return f"disk: {size_text(free)} free"
    steps = ", ".join(f"{run.node} {size_text(n_bytes)}" for run, n_bytes, _ in by_run)
    per_series = sum(n_bytes / n_items for _, n_bytes, n_items in by_run)
    return (
        f"disk: {size_text(used)} used ({steps}); {size_text(free)} free, room for about "
        f"{free / per_series:.0f} more series like these"
    )
