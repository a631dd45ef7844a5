"""State of the series of a session, for other processes: a small file in the project."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryoloom.store.lock import is_being_worked_on

__all__ = ["Arrivals", "SeriesStatus", "arrivals_of", "keep_status", "last_news", "series_being_watched"]

_FILE_NAME = "watch.json"
_RATE_SECONDS = 600.0
"""Time over which the rate of transfer is taken."""

_FORMER_NAMES = {"n_told": "n_in_metadata"}
"""In status files of earlier versions."""


@dataclass(frozen=True, slots=True)
class SeriesStatus:
    """A series as the user sees it."""

    name: str
    state: str
    """open, closed, abandoned or failed."""
    n_whole: int
    n_in_metadata: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Movies that came to a folder lately."""

    files: tuple[tuple[float, int], ...] = ()
    """When each was last seen to change, in seconds since 1970, and its bytes; in order of time."""

    def last(self) -> float | None:
        """When the last one came; None if none did."""
        return self.files[-1][0] if self.files else None

    def bytes_per_second(self, now: float) -> float | None:
        """Mean over the last ten minutes; None with fewer than two files in them, 0 if they came before."""
        if not self.files or self.files[-1][0] < now - _RATE_SECONDS:
            return 0.0 if self.files else None
        recent = [one for one in self.files if one[0] >= now - _RATE_SECONDS]
        if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
            return None
        # The first file was on its way before the time that is counted.
        return sum(size for _, size in recent[1:]) / (recent[-1][0] - recent[0][0])


def keep_status(project: Path, series: Sequence[SeriesStatus], arrivals: Arrivals | None = None) -> None:
    """Write the state of the series and what arrived lately; the file is replaced atomically."""
    path = project / _FILE_NAME
    part = path.with_name(f".{path.name}.part")
    files = () if arrivals is None else arrivals.files
    part.write_text(json.dumps({"series": [dataclasses.asdict(one) for one in series], "arrivals": files}))
    os.replace(part, path)


def arrivals_of(project: Path) -> Arrivals:
    """Files that arrived recently in a folder that is, or was, watched."""
    return Arrivals(tuple((float(when), int(size)) for when, size in _kept(project)["arrivals"]))


def series_being_watched(project: Path) -> list[SeriesStatus]:
    """The series of a session at the last check of its folder."""
    return [
        SeriesStatus(**{_FORMER_NAMES.get(name, name): value for name, value in one.items()})
        for one in _kept(project)["series"]
    ]


def _kept(project: Path) -> dict[str, Any]:
    try:
        found = json.loads((project / _FILE_NAME).read_text())
    except FileNotFoundError:
        found = []
    # Before arrivals were kept it was the list of series alone.
    return found if isinstance(found, dict) else {"series": found, "arrivals": []}


def last_news(project: Path) -> float | None:
    """When something new was found in a folder that is being watched; None if none is.

    In seconds since 1970.
    """
    try:
        changed = (project / _FILE_NAME).stat().st_mtime
    except FileNotFoundError:
        return None
    return changed if is_being_worked_on(project) else None
