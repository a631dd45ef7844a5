"""An average of particles: the map, its independent halves, and their agreement."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryoloom.model.added_later import ADDED_LATER
from cryoloom.model.pixel_set import PixelSet
from cryoloom.model.pixels import Pixels
from cryoloom.model.tilt import DecisionsBySeries

__all__ = ["Average", "FscCurve"]


@dataclass(frozen=True, slots=True)
class FscCurve:
    """Fourier shell correlation of two maps over frequency."""

    name: str
    """Maps compared: "masked", "unmasked", "randomised", "corrected", "non-radial", "null" or
    "pose-dependent"."""
    frequency_per_angstrom: tuple[float, ...]
    correlation: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Average:
    """Volumes ``(z, y, x)`` whose index ``n // 2`` is the particles' position; density is positive."""

    name: str
    map: Pixels
    voxel_size_angstrom: float
    symmetry: str = "C1"
    half1: Pixels | None = None
    half2: Pixels | None = None
    """Halves are unfiltered and share no particle."""
    mask: Pixels | None = None
    """Values 0 to 1."""
    curves: tuple[FscCurve, ...] = ()
    resolution_angstrom: float | None = None
    """Where the halves' correlation falls to 0.143, if that is meaningful (`resolution_note`)."""
    resolution_note: str = ""
    """Why a resolution is not given, or what limits it; "" if there is nothing to add."""
    n_particles: int | None = None
    diameter_angstrom: float | None = None
    local_resolution: Pixels | None = field(default=None, metadata=ADDED_LATER)
    """Resolution in angstrom at every voxel of the mask, NaN outside."""
    pose_doubt: str = field(default="", metadata=ADDED_LATER)
    """As in `Particles`: why no later step gives a resolution of these halves; "" if nothing is known."""

    @property
    def own_series(self) -> None:
        """None: it comes of many series."""
        return None

    def facts(self) -> dict[str, float]:
        """Particles, if they were counted, and voxel size."""
        counted = {} if self.n_particles is None else {"n_particles": float(self.n_particles)}
        return {**counted, "voxel_size_angstrom": self.voxel_size_angstrom}

    def pixel_sets(self) -> tuple[PixelSet, ...]:
        """The map, its halves, its mask and its local resolution."""
        named = {
            "map": self.map,
            "half1": self.half1,
            "half2": self.half2,
            "mask": self.mask,
            "local_resolution": self.local_resolution,
        }
        present = {name: pixels for name, pixels in named.items() if pixels is not None}
        return (PixelSet(present, self.voxel_size_angstrom),)

    def with_decisions(self, by_series: DecisionsBySeries) -> Average:
        """The average itself: it contains no series."""
        return self
