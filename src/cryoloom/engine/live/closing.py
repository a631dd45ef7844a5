"""Series closed by the user: files that the watching process finds and removes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryoloom.engine.live.watch_status import series_being_watched
from cryoloom.errors import UserInputError

__all__ = ["ask_to_close", "asked_to_close", "closing_done"]

_FOLDER = "close"


def ask_to_close(project: Path, names: Sequence[str]) -> None:
    """Ask the watching process to close series as they are.

    Raises UserInputError for a series that is not being watched; then none is closed.
    """
    known = {series.name for series in series_being_watched(project)}
    for name in names:
        if name not in known:
            there = ", ".join(sorted(known)) or "none yet"
            raise UserInputError(f"no series {name!r} is being watched; there are {there}")
    folder = project / _FOLDER
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()


def asked_to_close(project: Path) -> set[str]:
    """Names of the series whose closing was requested and not done yet."""
    folder = project / _FOLDER
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def closing_done(project: Path, name: str) -> None:
    """Remove the request: the series was closed, and that is recorded."""
    (project / _FOLDER / name).unlink(missing_ok=True)
