"""The volumes that both versions of AreTomo write."""

from __future__ import annotations

from pathlib import Path

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.programs.aretomo.aretomo2 import even_px

__all__ = ["ROLES", "volume_shape"]

ROLES = {"images": "tomogram", "even": "tomogram_even", "odd": "tomogram_odd"}


def volume_shape(
    path: Path, thickness_angstrom: float, binning: float, pixel_size_angstrom: float
) -> tuple[int, int, int]:
    """(z, y, x) of a volume of sections along y: as thick as requested; AreTomo chooses the rest.

    Raises DataUnfitError if it has another thickness.
    """
    n_y, n_z, n_x = MrcPixels(path).shape
    expected = int(even_px(thickness_angstrom, pixel_size_angstrom) / binning) // 2 * 2
    if n_z != expected:
        raise DataUnfitError(
            f"AreTomo made a volume of {n_z} planes, expected {expected}; the result is not used"
        )
    return n_z, n_y, n_x
