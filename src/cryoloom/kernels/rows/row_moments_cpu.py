"""Mean and variance of every row of an image on the CPU: numba loops over rows that stay in the cache."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["row_moments_numba"]


@numba.njit(fastmath={"reassoc", "contract"}, error_model="numpy", nogil=True, cache=True)
def row_moments_numba(rows: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """See `cryoloom.kernels.rows.row_moments.row_moments`; the same on NumPy arrays."""
    n_x = rows.shape[1]
    for y in range(rows.shape[0]):
        total = 0.0
        for x in range(n_x):
            total += np.float64(rows[y, x])
        mean = total / n_x
        centre = np.float32(mean)
        squares = 0.0
        for x in range(n_x):
            deviation = rows[y, x] - centre
            squares += np.float64(deviation * deviation)
        out[0, y] = mean
        out[1, y] = squares / n_x
