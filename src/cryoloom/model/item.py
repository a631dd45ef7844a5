"""Interface of items that flow through a workflow: a name and pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

from cryoloom.model.pixels import Pixels
from cryoloom.model.tilt import TiltOverride

__all__ = ["DecisionsBySeries", "Item", "PixelSet"]

DecisionsBySeries = Mapping[str, Sequence[TiltOverride]]
"""Decisions of users on tilts, by name of the series."""


@dataclass(frozen=True, slots=True)
class PixelSet:
    """Images or volumes of an item with one shape and pixel size."""

    pixels: Mapping[str, Pixels]
    """By role: images, volume, even, odd. Three axes each."""
    pixel_size_angstrom: float
    n_sections: int = 0
    """Smallest number of sections, by the item's references to them."""


@runtime_checkable
class Item(Protocol):
    """A tilt series, a tomogram, a particle set or an average."""

    @property
    def name(self) -> str:
        """The same from step to step."""

    def with_decisions(self, by_series: DecisionsBySeries) -> Self:
        """Copy in which the tilts of its series are left out or kept as users decided."""

    def pixel_sets(self) -> tuple[PixelSet, ...]:
        """All pixels the item holds, for the checks before it is recorded."""
