"""Sum of images at the points of a grid on the CPU: numba."""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

__all__ = ["sum_on_grid_numba"]

Floats = NDArray[np.float32]


@numba.njit(nogil=True, cache=True)
def _within(first: float, step: float, low: float, high: float, n: int) -> tuple[int, int]:
    """Indices i, first and past the last of n, for which ``low <= first + step i <= high``."""
    if abs(step) < 1e-9:
        return (0, n) if low <= first <= high else (0, 0)
    a, b = (low - first) / step, (high - first) / step
    return max(0, int(np.ceil(min(a, b)))), min(n, int(np.floor(max(a, b))) + 1)


@numba.njit(parallel=True, error_model="numpy", nogil=True, cache=True)
def sum_on_grid_numba(
    images: Floats, places: NDArray[np.float64], inset_px: float, total: Floats, count: Floats
) -> None:
    """See `cryoloom.kernels.projection.sum_on_grid.sum_on_grid`; ``total`` and ``count`` are added to."""
    n_z, n_y, n_x = total.shape
    n_views, n_rows, n_columns = images.shape
    for z in prange(n_z):  # an image stays in the cache for the whole layer
        for view_and_y in range(n_views * n_y):
            view, y = view_and_y // n_y, view_and_y % n_y
            column_0 = places[view, 0, 0] + places[view, 0, 2] * y + places[view, 0, 3] * z
            row_0 = places[view, 1, 0] + places[view, 1, 2] * y + places[view, 1, 3] * z
            per_x, row_per_x = places[view, 0, 1], places[view, 1, 1]
            begin, end = _within(column_0, per_x, inset_px, n_columns - 1 - inset_px, n_x)
            low, high = _within(row_0, row_per_x, inset_px, n_rows - 1 - inset_px, n_x)
            for x in range(max(begin, low), min(end, high)):
                column, row = column_0 + per_x * x, row_0 + row_per_x * x
                i, j = min(int(row), n_rows - 2), min(int(column), n_columns - 2)
                down, right = np.float32(row - i), np.float32(column - j)
                upper = images[view, i, j] + right * (images[view, i, j + 1] - images[view, i, j])
                lower = images[view, i + 1, j] + right * (images[view, i + 1, j + 1] - images[view, i + 1, j])
                total[z, y, x] += upper + down * (lower - upper)
                count[z, y, x] += np.float32(1)
