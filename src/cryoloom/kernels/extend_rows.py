"""Rows of images continued smoothly beyond what was seen: one numba loop over rows."""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

__all__ = ["extend_rows", "extend_rows_alone"]


@numba.njit(parallel=True, error_model="numpy", nogil=True, cache=True)
def extend_rows(rows: NDArray[np.float32], padded: NDArray[np.float32]) -> None:
    """Fill ``padded`` with the rows, centred, continued beyond their first and last seen pixel, falling to 0.

    rows   : (tilt, row, column) float32, NaN outside the image, finite within it.
    padded : (tilt, row, n_padded) float32, overwritten.

    Beyond the image a row goes on with the mean of its outermost pixels (1/64 of the row), which falls
    to 0 as a raised cosine over the padding: a step there would become a bright edge after the ramp filter.
    A row without an image is 0.
    """
    n_tilts, n_rows, n_columns = rows.shape
    n_padded = padded.shape[2]
    before = (n_padded - n_columns) // 2
    near = max(2, n_columns // 64)
    fade = (0.5 + 0.5 * np.cos(np.pi * np.arange(max(1, before)) / max(1, before))).astype(np.float32)
    for i in prange(n_tilts * n_rows):
        row, out = rows[i // n_rows, i % n_rows], padded[i // n_rows, i % n_rows]
        first = 0
        while first < n_columns and np.isnan(row[first]):
            first += 1
        out[:] = 0
        if first == n_columns:
            continue
        last = n_columns - 1
        while np.isnan(row[last]):
            last -= 1
        out[before + first : before + last + 1] = row[first : last + 1]
        near_here = min(near, last - first + 1)
        left = row[first : first + near_here].mean()
        right = row[last + 1 - near_here : last + 1].mean()
        for distance in range(1, len(fade)):
            if before + first - distance >= 0:
                out[before + first - distance] = left * fade[distance]
            if before + last + distance < n_padded:
                out[before + last + distance] = right * fade[distance]


extend_rows_alone = numba.njit(error_model="numpy", nogil=True, cache=True)(extend_rows.py_func)
"""The same on the calling thread alone."""
