"""One tilt of a tilt series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from cryoloom.model.added_later import ADDED_LATER
from cryoloom.model.ctf import Ctf
from cryoloom.model.limits import require
from cryoloom.model.movie import Movie
from cryoloom.model.pose import Pose

__all__ = ["DecidedBy", "DecisionsBySeries", "Exclusion", "Tilt", "TiltOverride"]


@dataclass(frozen=True, slots=True)
class DecidedBy:
    """Who excludes or keeps a tilt: a step, or a user by login name ("" if it is not known)."""

    kind: Literal["step", "user"]
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.kind

    @property
    def is_user(self) -> bool:
        """Whether a person decided; no step changes that."""
        return self.kind == "user"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Why a tilt is excluded, by whom, and the figure that decided. Its pixels and its index stay."""

    reason: str
    by: DecidedBy
    figure: float | None = None

    @classmethod
    def by_step(cls, reason: str, step: str, figure: float | None = None) -> Exclusion:
        """Exclusion by a step."""
        return cls(reason, DecidedBy("step", step), figure)

    @classmethod
    def by_user(cls, reason: str, user: str = "") -> Exclusion:
        """Exclusion by a person."""
        return cls(reason, DecidedBy("user", user))


@dataclass(frozen=True, slots=True)
class TiltOverride:
    """A user excludes a tilt, or keeps it even if a step would exclude it."""

    acquisition_index: int
    keep: bool
    reason: str
    by: DecidedBy


DecisionsBySeries = Mapping[str, Sequence[TiltOverride]]
"""Decisions of users on tilts, by name of the series."""


@dataclass(frozen=True, slots=True)
class Tilt:
    """A tilt, identified by its acquisition index (0 is the first tilt acquired), which never changes."""

    acquisition_index: int
    nominal_tilt_deg: float
    dose_start_per_angstrom2: float
    dose_end_per_angstrom2: float
    movie: Movie | None = None
    acquired_at: datetime | None = None
    nominal_defocus_angstrom: float | None = None
    section: int | None = None
    """Position in the series' stack. The stack keeps every tilt, excluded ones too."""
    frame_shifts_yx_angstrom: tuple[tuple[float, float], ...] = ()
    """Position of the specimen in each frame or EER fraction, relative to their mean."""
    frames_per_fraction: int | None = None
    first_frame: int = field(default=0, metadata=ADDED_LATER)
    """Raw frames at the beginning of the movie that were left out of the sum."""
    exclusion: Exclusion | None = None
    kept_by: DecidedBy | None = field(default=None, metadata=ADDED_LATER)
    """The user who keeps this tilt: no step excludes it."""
    ctf: Ctf | None = None
    pose: Pose | None = None

    def __post_init__(self) -> None:
        """Refuse values that no tilt can have (`limits`)."""
        require("tilt angle", self.nominal_tilt_deg)
        require("dose", self.dose_start_per_angstrom2)
        require("dose", self.dose_end_per_angstrom2)

    @property
    def has_halves(self) -> bool:
        """Whether even and odd frames made different images of this tilt; a single frame has no halves."""
        return len(self.frame_shifts_yx_angstrom) != 1

    @property
    def is_excluded(self) -> bool:
        """Whether a user or a step excluded this tilt."""
        return self.exclusion is not None

    def overridden(self, override: TiltOverride) -> Tilt:
        """Copy with the decision of a user."""
        if override.keep:
            return replace(self, exclusion=None, kept_by=override.by)
        return replace(self, exclusion=Exclusion(override.reason, override.by), kept_by=None)

    @property
    def dose_per_angstrom2(self) -> float:
        """Dose of this tilt alone."""
        return self.dose_end_per_angstrom2 - self.dose_start_per_angstrom2
