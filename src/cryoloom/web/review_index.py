"""Flagged tilts of all series of a project, cached until a series changes.

Reading a value of 61 tilts takes a few milliseconds, which is too long for a page with 5,000 series. The
index is filled in the background, for many series by a separate process, and pages show the known part.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping, Sequence

from cryoloom.errors import CryoloomError
from cryoloom.web.judged_series import JudgedSeries, judged_series
from cryoloom.web.project_view import ProjectView
from cryoloom.web.review_child import judged_elsewhere
from cryoloom.web.tilt_flags import QUALITY_RECORD, JudgedTilt

__all__ = ["ReviewIndex", "open_tilts"]

_MOST_HERE = 100
"""Chosen: up to this many series are read by the server; for more a process is started."""


class ReviewIndex:
    """Short forms of the series of one project, by name."""

    def __init__(self, project: ProjectView) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._known: dict[str, tuple[object, JudgedSeries]] = {}
        self._thread: threading.Thread | None = None

    def known(self) -> dict[str, JudgedSeries]:
        """Known series that are up to date; the others are read in the background."""
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

    def n_series(self) -> int:
        """Number of series, known or not."""
        return len(self._project.series_names())

    def complete(self, timeout_s: float = 60.0) -> dict[str, JudgedSeries]:
        """All series, after waiting for those that are being read."""
        found = self.known()
        if self._thread is not None and len(found) < len(self._project.signatures()):
            self._thread.join(timeout_s)
            found = self.known()
        return found

    def _fill(self) -> None:
        try:
            self._read(self._project.signatures())
        except (CryoloomError, sqlite3.Error):
            return  # the disk is unavailable, or the server ends: known series are kept

    def _read(self, signatures: Mapping[str, object]) -> None:
        missing = self._missing(signatures)
        if len(missing) > _MOST_HERE:
            for made in judged_elsewhere(self._project.folder, missing):
                with self._lock:
                    self._known.update({one.name: (signatures[one.name], one) for one in made})
        for name in self._missing(signatures):
            judged = judged_series(self._project.series_with_record(name, QUALITY_RECORD))
            with self._lock:
                self._known[name] = (signatures[name], judged)
        with self._lock:
            for name in set(self._known) - set(signatures):
                del self._known[name]

    def _missing(self, signatures: Mapping[str, object]) -> list[str]:
        with self._lock:
            return [name for name, one in signatures.items() if self._known.get(name, (None,))[0] != one]


def open_tilts(series: Sequence[JudgedSeries]) -> list[tuple[JudgedSeries, JudgedTilt]]:
    """Flagged tilts of all series: tilts without a decision first, worst first."""
    flagged = [(one, tilt) for one in series for tilt in one.doubted]
    return sorted(
        flagged, key=lambda pair: (not pair[1].is_open, -(pair[1].flag.severity if pair[1].flag else 0))
    )
