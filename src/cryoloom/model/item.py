"""Interface of items that flow through a workflow: what the engine asks of any of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self, runtime_checkable

from cryoloom.model.pixel_set import PixelSet
from cryoloom.model.tilt import DecisionsBySeries
from cryoloom.model.tilt_series import TiltSeries

__all__ = ["Item"]


@runtime_checkable
class Item(Protocol):
    """A tilt series, a tomogram, a particle set or an average."""

    @property
    def name(self) -> str:
        """The same from step to step."""

    @property
    def own_series(self) -> TiltSeries | None:
        """The one series that it is or was reconstructed from; None for what may come of several."""

    def with_decisions(self, by_series: DecisionsBySeries) -> Self:
        """Copy in which the tilts of its series are left out or kept as users decided."""

    def pixel_sets(self) -> tuple[PixelSet, ...]:
        """All pixels the item holds, for the checks before it is recorded."""

    def facts(self) -> Mapping[str, float]:
        """Figures that it has without a step, by name: sizes, counts and ranges."""
