"""State of the series of a session, for other processes: a small file in the project."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryoloom.store.lock import is_being_worked_on

__all__ = ["SeriesStatus", "keep_status", "last_news", "series_being_watched"]

_FILE_NAME = "watch.json"


@dataclass(frozen=True, slots=True)
class SeriesStatus:
    """A series as the user sees it."""

    name: str
    state: str
    """open, closed, abandoned or failed."""
    n_whole: int
    n_told: int
    note: str = ""


def keep_status(project: Path, series: Sequence[SeriesStatus]) -> None:
    """Write the state of the series; the file is replaced atomically."""
    path = project / _FILE_NAME
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps([dataclasses.asdict(one) for one in series]))
    os.replace(part, path)


def series_being_watched(project: Path) -> list[SeriesStatus]:
    """The series of a session at the last check of its folder."""
    try:
        text = (project / _FILE_NAME).read_text()
    except FileNotFoundError:
        return []
    return [SeriesStatus(**one) for one in json.loads(text)]


def last_news(project: Path) -> float | None:
    """When something new was found in a folder that is being watched; None if none is.

    In seconds since 1970.
    """
    try:
        changed = (project / _FILE_NAME).stat().st_mtime
    except FileNotFoundError:
        return None
    return changed if is_being_worked_on(project) else None
