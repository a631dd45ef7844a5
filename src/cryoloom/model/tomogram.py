"""A reconstructed volume."""

from __future__ import annotations

from dataclasses import dataclass

from cryoloom.model.pixels import Pixels
from cryoloom.model.tilt_series import TiltSeries

__all__ = ["Tomogram"]


@dataclass(frozen=True, slots=True)
class Tomogram:
    """Volume ``(z, y, x)`` whose index ``n // 2`` is the origin of the series' poses."""

    series: TiltSeries
    """The series it was made from, as it was then."""
    volume: Pixels
    voxel_size_angstrom: float
    even: Pixels | None = None
    odd: Pixels | None = None
    method: str = "weighted back-projection"

    @property
    def name(self) -> str:
        """A tomogram is called as its series."""
        return self.series.name
