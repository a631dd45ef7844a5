"""When a session raises an alert, and where alerts go: a small file in the project that only its owner reads.

Limits may be set in the browser. Commands and addresses may not: they are given on the command line only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cryoloom.engine.live.session_points import FOLLOWED
from cryoloom.errors import TransientError, UserInputError
from cryoloom.store.private_file import write_private

__all__ = [
    "AlertSettings",
    "Limit",
    "alert_settings",
    "changed_settings",
    "keep_alert_settings",
]

_FILE_NAME = "alerts.json"
Bound = Annotated[float, Field(allow_inf_nan=False)]


class Limit(BaseModel):
    """Allowed values of a figure, in the unit of its name; None: no limit on that side."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    low: Bound | None = None
    high: Bound | None = None

    @model_validator(mode="after")
    def _has_order(self) -> Limit:
        if self.low is None and self.high is None:
            raise ValueError("a limit needs a lowest or a highest value")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"the lowest value {self.low:g} is not below the highest {self.high:g}")
        return self

    def is_beyond(self, value: float) -> bool:
        """Whether a value is outside the limits."""
        return (self.low is not None and value < self.low) or (self.high is not None and value > self.high)


class AlertSettings(BaseModel):
    """Rules and channels of a project."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limits: dict[str, Limit] = {}
    """Limits by figure; without an entry, the usual limits of the session apply."""
    at_least: int = Field(3, ge=1, le=100)
    """An alert is raised when so many ..."""
    of_last: int = Field(5, ge=1, le=100)
    """... of the last series that have the figure are beyond its limits, or failed."""
    quiet_minutes: float | None = Field(None, gt=0)
    """An alert is raised when nothing new came for so long while a folder is watched; None: never."""
    muted: tuple[str, ...] = ()
    """Figures without alerts; ``failed`` for failures."""
    file: Path | None = None
    """Alerts are appended to this file, one a line."""
    command: tuple[str, ...] = ()
    """Program and arguments, started without a shell; the text is its input and its last argument."""
    web_hook: str | None = None
    """Address that each alert is posted to as JSON."""

    @field_validator("limits")
    @classmethod
    def _are_followed(cls, limits: dict[str, Limit]) -> dict[str, Limit]:
        names = [one.figure for one in FOLLOWED]
        for figure in limits:
            if figure not in names:
                raise ValueError(f"{figure!r} is not followed; expected one of {', '.join(names)}")
        return limits

    @field_validator("web_hook")
    @classmethod
    def _is_address(cls, address: str | None) -> str | None:
        if address is not None:
            parts = urlsplit(address)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError(f"{address!r} is not an address of a web hook; expected https://HOST/...")
        return address

    @model_validator(mode="after")
    def _can_be_met(self) -> AlertSettings:
        if self.at_least > self.of_last:
            raise ValueError(f"at least {self.at_least} of the last {self.of_last} series can never be met")
        return self

    @property
    def channels(self) -> tuple[str, ...]:
        """Where alerts go in addition to the page."""
        given = {"file": self.file, "command": self.command, "web hook": self.web_hook}
        return tuple(name for name, value in given.items() if value)


def alert_settings(project: Path) -> AlertSettings:
    """Settings of a project; the defaults where none were given. Raises UserInputError for a broken file."""
    path = project / _FILE_NAME
    try:
        return AlertSettings.model_validate_json(path.read_text())
    except FileNotFoundError:
        return AlertSettings()
    except (OSError, ValidationError) as error:
        raise UserInputError(f"{path} cannot be read as settings of alerts: {_first_line(error)}") from error


def keep_alert_settings(project: Path, settings: AlertSettings) -> None:
    """Store the settings; the file may hold secrets, so only its owner can read it.

    Raises TransientError if it cannot be written.
    """
    path = project / _FILE_NAME
    try:
        write_private(path, settings.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise TransientError(f"{path} cannot be written: {error.strerror}") from error


def changed_settings(settings: AlertSettings, **changes: object) -> AlertSettings:
    """The settings with some replaced. Raises UserInputError for a value that is not allowed."""
    try:
        return AlertSettings.model_validate({**settings.model_dump(), **changes})
    except ValidationError as error:
        raise UserInputError(f"these alerts cannot be set: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return str(first["msg"]).removeprefix("Value error, ")
    return str(error)
