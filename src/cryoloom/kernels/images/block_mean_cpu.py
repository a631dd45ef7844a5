"""Bin rows of an image by averaging blocks on the CPU: one numba loop."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["block_mean_numba"]


@numba.njit(fastmath={"reassoc", "contract"}, error_model="numpy", nogil=True, cache=True)
def block_mean_numba(rows: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """See `cryoloom.kernels.images.block_mean.block_mean`; the same on NumPy arrays."""
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
