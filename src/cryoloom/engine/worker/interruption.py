"""Whether a task is still wanted: a stop by the user, or another coordinator, interrupts it."""

from __future__ import annotations

import time
from pathlib import Path

from cryoloom.store.lock import coordinator_of

__all__ = ["STOP_FILE", "StepInterrupted", "StillWanted", "ask_to_stop"]

STOP_FILE = "stop"
_LOOK_SECONDS = 0.1
"""Interval at which a step that reports progress checks whether it was stopped."""


class StepInterrupted(Exception):  # noqa: N818 - it is no error
    """A step was interrupted because its task is no longer wanted; nothing is recorded of it."""


class StillWanted:
    """Checks now and then whether the user stopped the work, or another coordinator has taken over."""

    def __init__(self, project: Path, coordinator: str, what: str) -> None:
        self._project, self._coordinator, self._what = project, coordinator, what
        self._next_look = 0.0

    def look(self, *, now: bool = False) -> None:
        """Raise StepInterrupted if the task is no longer wanted."""
        if not now and time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_SECONDS
        if (self._project / STOP_FILE).exists():
            raise StepInterrupted(f"{self._what} was stopped by the user")
        if self._coordinator and coordinator_of(self._project) != self._coordinator:
            raise StepInterrupted(f"{self._what}: another process took over {self._project}")


def ask_to_stop(project: Path) -> None:
    """Ask the coordinator and the workers of a project to stop; finished results stay."""
    (project / STOP_FILE).touch()
