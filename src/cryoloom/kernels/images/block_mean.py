"""Bin rows of an image by averaging blocks: one numba loop."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["block_mean"]


@numba.njit(fastmath={"reassoc", "contract"}, error_model="numpy", nogil=True, cache=True)
def block_mean(rows: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Fill ``out`` with means over square blocks of ``rows``; what is not finite counts as 0.

    rows : (y, x) float32, as many times as high as ``out`` as the blocks have rows; columns left over are
    dropped. out : (y, x) float32, overwritten.
    """
    n_y, n_x = out.shape
    factor = rows.shape[0] // n_y
    scale = np.float32(1.0 / (factor * factor))
    for y in range(n_y):
        line = out[y]
        line[:] = 0
        for row in range(y * factor, (y + 1) * factor):
            values = rows[row]
            for x in range(n_x):
                total = np.float32(0)
                for column in range(x * factor, (x + 1) * factor):
                    value = values[column]
                    if np.isfinite(value):
                        total += value
                line[x] += total * scale
