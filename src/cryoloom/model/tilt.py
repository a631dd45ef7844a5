"""One exposure of a tilt series."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryoloom.model.ctf import Ctf
from cryoloom.model.movie import Movie
from cryoloom.model.pose import Pose

__all__ = ["Exclusion", "Tilt"]


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Why a tilt is left out, by whom, and the figure that decided. Its pixels and its index stay."""

    reason: str
    by: str
    figure: float | None = None


@dataclass(frozen=True, slots=True)
class Tilt:
    """An exposure, named for ever by its acquisition index (0 is the first exposure taken)."""

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
    """Where the specimen is in each frame or EER fraction, relative to the mean over them."""
    frames_per_fraction: int | None = None
    exclusion: Exclusion | None = None
    ctf: Ctf | None = None
    pose: Pose | None = None

    @property
    def is_excluded(self) -> bool:
        """Whether somebody or some step left this tilt out."""
        return self.exclusion is not None

    @property
    def dose_per_angstrom2(self) -> float:
        """Dose of this exposure alone."""
        return self.dose_end_per_angstrom2 - self.dose_start_per_angstrom2
