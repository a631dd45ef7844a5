"""Judged tilts of all series of a project, kept while nothing about a series changes.

A value of 61 tilts takes a millisecond or two to read; of 5,000 series that is too long for a page. The index
is filled by a thread in the background, and pages show what is known by then.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryoloom.errors import CryoloomError
from cryoloom.web.project_view import ProjectView
from cryoloom.web.tilt_flags import JudgedTilt, judged_tilts_of

__all__ = ["JudgedSeries", "ReviewIndex", "open_tilts"]


@dataclass(frozen=True, slots=True)
class JudgedSeries:
    """A series in short: its tilts and where their pictures are."""

    name: str
    tilts: tuple[JudgedTilt, ...]
    item: int | None
    role: str
    """Of the stack, in the item's value; "" if there is none."""

    @property
    def n_excluded(self) -> int:
        """Tilts left out."""
        return sum(not tilt.row.is_kept for tilt in self.tilts)

    @property
    def n_open(self) -> int:
        """Tilts that the program doubts and nobody has decided on."""
        return sum(tilt.is_open for tilt in self.tilts)


class ReviewIndex:
    """Judged series of one project, by name."""

    def __init__(self, project: ProjectView) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._known: dict[str, tuple[object, JudgedSeries]] = {}
        self._thread: threading.Thread | None = None

    def known(self) -> dict[str, JudgedSeries]:
        """Series that are known and as they are now; the others are read in the background."""
        signatures = self._project.signatures()
        with self._lock:
            found = {
                name: judged
                for name, (signature, judged) in self._known.items()
                if signatures.get(name) == signature
            }
            if len(found) < len(signatures) and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._fill, name="review", daemon=True)
                self._thread.start()
        return found

    def complete(self, timeout_s: float = 60.0) -> dict[str, JudgedSeries]:
        """All series, waiting for those that are being read."""
        found = self.known()
        if self._thread is not None and len(found) < len(self._project.signatures()):
            self._thread.join(timeout_s)
            found = self.known()
        return found

    def _fill(self) -> None:
        try:
            self._read(self._project.signatures())
        except (CryoloomError, sqlite3.Error):
            return  # the disk is away, or the server ends: what is known stays

    def _read(self, signatures: Mapping[str, object]) -> None:
        for name, signature in signatures.items():
            with self._lock:
                if self._known.get(name, (None,))[0] == signature:
                    continue
            view = self._project.series(name)
            role = next(iter(view.stack_roles()), "")
            judged = JudgedSeries(name, judged_tilts_of(view), view.series_item, role)
            with self._lock:
                self._known[name] = (signature, judged)
        with self._lock:
            for name in set(self._known) - set(signatures):
                del self._known[name]


def open_tilts(series: Sequence[JudgedSeries]) -> list[tuple[JudgedSeries, JudgedTilt]]:
    """Doubted tilts of all series: open ones first, the worst of them first."""
    flagged = [(one, tilt) for one in series for tilt in one.tilts if tilt.flag is not None]
    return sorted(
        flagged, key=lambda pair: (not pair[1].is_open, -(pair[1].flag.severity if pair[1].flag else 0))
    )
