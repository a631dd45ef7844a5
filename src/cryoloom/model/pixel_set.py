"""Images or volumes that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryoloom.model.pixels import Pixels

__all__ = ["PixelSet"]


@dataclass(frozen=True, slots=True)
class PixelSet:
    """Images or volumes of an item with one shape and pixel size."""

    pixels: Mapping[str, Pixels]
    """Pixels by role: images, volume, even, odd. Three axes each."""
    pixel_size_angstrom: float
    n_sections: int = 0
    """Smallest number of sections, by the item's references to them."""
