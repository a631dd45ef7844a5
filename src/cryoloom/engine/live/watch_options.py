"""When a watched series and a session end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["WatchOptions"]


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """When a series and the session end. Minutes count from the last observed change."""

    tilts: int | None = None
    """Tilts of a series: with all of them it is closed at once."""
    close_minutes: float = 5.0
    """A series with all of its movies is closed after this time."""
    missing_minutes: float = 20.0
    """A series with movies that are missing or truncated is closed after this time, without them."""
    idle_minutes: float | None = None
    """The session ends when the folder has not changed for this time."""
    stop_file: Path | None = None
    """The session ends when this file exists."""
    settle_seconds: float = 10.0
    """A file is complete when it has not changed for this time."""
    look_seconds: float = 5.0
    """Interval between checks of the folder."""

    def __post_init__(self) -> None:
        """A series that lacks movies is never closed before one that has them all."""
        object.__setattr__(self, "missing_minutes", max(self.missing_minutes, self.close_minutes))
