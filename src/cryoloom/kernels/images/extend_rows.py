"""Rows of images continued smoothly beyond what was seen: one numba loop over rows, two ways."""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

__all__ = ["extend_rows", "extend_rows_serial"]

Floats = NDArray[np.float32]


@numba.njit(parallel=True, error_model="numpy", nogil=True, cache=True)
def extend_rows(rows: Floats, padded: Floats) -> None:
    """Fill ``padded`` with the rows, centred, continued beyond their first and last seen pixel, falling to 0.

    rows   : (tilt, row, column) float32, NaN outside the image, finite within it.
    padded : (tilt, row, n_padded) float32, overwritten.

    Beyond the image a row goes on with the mean of its outermost pixels (1/64 of the row), which falls
    to 0 as a raised cosine over the padding: a step there would become a bright edge after the ramp filter.
    A row without an image is 0.
    """
    n_rows = rows.shape[1]
    fade = _fade(rows.shape[2], padded.shape[2])
    for i in prange(len(rows) * n_rows):
        _extend_row(rows[i // n_rows, i % n_rows], fade, padded[i // n_rows, i % n_rows])


@numba.njit(error_model="numpy", nogil=True, cache=True)
def extend_rows_serial(rows: Floats, padded: Floats) -> None:
    """`extend_rows` on the calling thread alone."""
    fade = _fade(rows.shape[2], padded.shape[2])
    for tilt in range(len(rows)):
        for row in range(rows.shape[1]):
            _extend_row(rows[tilt, row], fade, padded[tilt, row])


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _fade(n_columns: int, n_padded: int) -> Floats:
    before = max(1, (n_padded - n_columns) // 2)
    return (0.5 + 0.5 * np.cos(np.pi * np.arange(before) / before)).astype(np.float32)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _extend_row(row: Floats, fade: Floats, out: Floats) -> None:
    n_columns, n_padded = len(row), len(out)
    before = (n_padded - n_columns) // 2
    out[:] = 0
    first = 0
    while first < n_columns and np.isnan(row[first]):
        first += 1
    if first == n_columns:
        return
    last = n_columns - 1
    while np.isnan(row[last]):
        last -= 1
    out[before + first : before + last + 1] = row[first : last + 1]
    near = min(max(2, n_columns // 64), last - first + 1)
    left = row[first : first + near].mean()
    right = row[last + 1 - near : last + 1].mean()
    for distance in range(1, len(fade)):
        if before + first - distance >= 0:
            out[before + first - distance] = left * fade[distance]
        if before + last + distance < n_padded:
            out[before + last + distance] = right * fade[distance]
