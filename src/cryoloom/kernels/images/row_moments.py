"""Mean and variance of every row of an image: numba loops over rows that stay in the cache."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["row_moments"]


@numba.njit(fastmath={"reassoc", "contract"}, error_model="numpy", nogil=True, cache=True)
def row_moments(rows: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Fill ``out`` ``(2, y)`` with mean and variance of ``rows`` ``(y, x)``, summed in float64."""
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
