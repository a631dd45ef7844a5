"""Storage of numbers in an MRC file, checked against the numbers themselves.

The header's flags come first: IMOD's stamp and its bit for signed bytes, the machine stamp for the byte
order. Programs get both wrong. An image shows which reading is right: neighbouring grey values are about
equally frequent, so that a histogram does not end abruptly in its middle. Unsigned numbers read as signed
ones are torn apart at the half of their range, and swapped bytes have an empty low byte, or exponents that
no image has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["byte_order_is_swapped", "signedness"]

_FEWEST = 64
"""Values of a sample below which it gives nothing."""
_FEWEST_DIFFERENT = 8
"""Chosen: values of a sample that do not differ carry no information."""
_CLEARLY = 20.0
"""Ratio of frequencies that overrules a flag."""
_SENSELESS, _SENSIBLE = 0.05, 0.001
"""Chosen: part of senseless values that no right byte order has, and that the right one has at most."""
_EMPTY, _FULL = 0.02, 0.5
"""Chosen: part of high bytes that are set where counts are small, and of low ones."""


def signedness(stored: np.dtype[Any], raw: NDArray[np.uint8]) -> tuple[np.dtype[Any], str]:
    """The type of 8- or 16-bit integers by a sample of their bytes, and why it is not the stored one.

    "" if the sample agrees with the type, or gives nothing.
    """
    if stored.kind not in "iu" or stored.itemsize > 2 or raw.size < _FEWEST * stored.itemsize:
        return stored, ""
    unsigned = raw.view(stored.newbyteorder("=" if stored.itemsize == 1 else stored.byteorder))
    unsigned = unsigned.astype(np.int64) % (1 << 8 * stored.itemsize)
    half = 1 << (8 * stored.itemsize - 1)
    width = half // 8
    # Values on both sides of the place where each reading tears the range apart.
    at_half = _both_sides(unsigned, half, width)
    near_zero = (unsigned + half) % (2 * half)  # so that 0 lies where the other has its half
    at_zero = _both_sides(near_zero, half, width)
    if stored.kind == "i" and at_half > _CLEARLY * max(at_zero, 1):
        return np.dtype(f"{stored.byteorder}u{stored.itemsize}"), (
            "its numbers are unsigned: as signed ones they would jump in the middle of their range"
        )
    if stored.kind == "u" and at_zero > _CLEARLY * max(at_half, 1):
        return np.dtype(f"{stored.byteorder}i{stored.itemsize}"), (
            "its numbers are signed: as unsigned ones small negative values would be the largest"
        )
    return stored, ""


def byte_order_is_swapped(stored: np.dtype[Any], raw: NDArray[np.uint8]) -> bool:
    """Whether a sample of bytes makes sense only in the other byte order."""
    if stored.itemsize < 2 or raw.size < _FEWEST * stored.itemsize:
        return False
    as_stored = raw.view(stored)
    swapped = raw.view(stored.newbyteorder())
    if stored.kind == "f":
        return _senseless(as_stored) > _SENSELESS and _senseless(swapped) < _SENSIBLE
    if len(np.unique(as_stored)) < _FEWEST_DIFFERENT:
        return False
    # Counts are small: their high byte is empty, which swapped is the low one.
    low, low_swapped = (np.count_nonzero(values % 256) / values.size for values in (as_stored, swapped))
    return bool(np.count_nonzero(as_stored) and low < _EMPTY and low_swapped > _FULL)


def _both_sides(values: NDArray[np.int64], at: int, width: int) -> int:
    below = np.count_nonzero((values >= at - width) & (values < at))
    above = np.count_nonzero((values >= at) & (values < at + width))
    return int(min(below, above))


def _senseless(values: NDArray[Any]) -> float:
    """Share of values no image has: not finite, or astronomically large or small."""
    with np.errstate(invalid="ignore"):
        size = np.abs(values.astype(np.float64))
        limit = 1e15 if values.dtype.itemsize > 2 else 6e4
        bad = ~np.isfinite(size) | (size > limit) | ((size < 1e-20) & (size > 0))
    return float(bad.mean())
