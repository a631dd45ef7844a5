"""Disk space of the files of a project."""

from __future__ import annotations

import os
from pathlib import Path

from cryoloom.store.reading import Reader
from cryoloom.store.records import RunRecord

__all__ = ["bytes_of", "disk_by_run"]


def disk_by_run(database: Reader, folder: Path) -> tuple[tuple[RunRecord, int, int], ...]:
    """Every run that has files, with their bytes on the disk and the number of its items that have them."""
    used: dict[int, list[int]] = {}
    for item in database.items(with_values=False):
        n_bytes = sum(bytes_of(folder / file.path) for file in item.files if not file.is_cleaned)
        if n_bytes:
            used.setdefault(item.run_id, []).append(n_bytes)
    return tuple((run, sum(used[run.id]), len(used[run.id])) for run in database.runs() if run.id in used)


def bytes_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 where there is none."""
    try:
        if path.is_dir():
            return sum(entry.stat().st_size for entry in path.rglob("*") if entry.is_file())
        return os.stat(path).st_size
    except OSError:
        return 0
