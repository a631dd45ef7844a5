"""A reconstructed volume."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cryoloom.model.pixel_set import PixelSet
from cryoloom.model.pixels import Pixels
from cryoloom.model.tilt import DecisionsBySeries
from cryoloom.model.tilt_series import TiltSeries

__all__ = ["Tomogram"]


@dataclass(frozen=True, slots=True)
class Tomogram:
    """Volume ``(z, y, x)`` whose index ``n // 2`` is the origin of the series' poses."""

    series: TiltSeries
    """The series it was made from, as it was at that time."""
    volume: Pixels
    voxel_size_angstrom: float
    even: Pixels | None = None
    odd: Pixels | None = None
    method: str = "weighted back-projection"

    @property
    def name(self) -> str:
        """A tomogram has the name of its series."""
        return self.series.name

    @property
    def own_series(self) -> TiltSeries:
        """The series it was reconstructed from."""
        return self.series

    def facts(self) -> dict[str, float]:
        """Those of its series, and the voxel size."""
        return {**self.series.facts(), "voxel_size_angstrom": self.voxel_size_angstrom}

    def pixel_sets(self) -> tuple[PixelSet, ...]:
        """The volume and its halves."""
        named = {"volume": self.volume, "even": self.even, "odd": self.odd}
        present = {name: pixels for name, pixels in named.items() if pixels is not None}
        return (PixelSet(present, self.voxel_size_angstrom),)

    def with_decisions(self, by_series: DecisionsBySeries) -> Tomogram:
        """Copy with the decisions of users on its series; the volume is unchanged."""
        return replace(self, series=self.series.with_decisions(by_series))
