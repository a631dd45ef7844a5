"""Sum of images at the points of a grid on the CPU: numba."""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

__all__ = ["sum_on_grid_numba"]

Floats = NDArray[np.float32]

_ONE = np.uint64(1)
"""Indices without a sign: numba would test each of them for being counted from the end."""


@numba.njit(nogil=True, cache=True)
def _within(first: float, step: float, low: float, high: float, n: int) -> tuple[int, int]:
    """Indices i, first and past the last of n, for which ``low <= first + step i <= high``."""
    if abs(step) < 1e-9:
        return (0, n) if low <= first <= high else (0, 0)
    a, b = (low - first) / step, (high - first) / step
    return max(0, int(np.ceil(min(a, b)))), min(n, int(np.floor(max(a, b))) + 1)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _add_line(
    image: Floats,
    line: tuple[float, float, float, float],
    within: tuple[int, int],
    total: Floats,
    count: Floats,
) -> None:
    """Add an image ``(row, column)`` along x: ``line`` is column at x = 0 and per x, then row."""
    n_rows, n_columns = image.shape
    for x in range(*within):
        column, row = line[0] + line[1] * x, line[2] + line[3] * x
        i, j = np.uint64(min(int(row), n_rows - 2)), np.uint64(min(int(column), n_columns - 2))
        down, right = np.float32(row - i), np.float32(column - j)
        upper = image[i, j] + right * (image[i, j + _ONE] - image[i, j])
        lower = image[i + _ONE, j] + right * (image[i + _ONE, j + _ONE] - image[i + _ONE, j])
        total[x] += upper + down * (lower - upper)
        count[x] += np.float32(1)


@numba.njit(parallel=True, error_model="numpy", nogil=True, cache=True)
def _sum_on_grid(
    images: Floats,
    turned: Floats,
    places: NDArray[np.float64],
    inset_px: float,
    total: Floats,
    count: Floats,
) -> None:
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
            line, within = (column_0, per_x, row_0, row_per_x), (max(begin, low), min(end, high))
            # A line of the grid that crosses the rows of an image is read along them in the turned one.
            if abs(row_per_x) > abs(per_x):
                _add_line(turned[view].T, line, within, total[z, y], count[z, y])
            else:
                _add_line(images[view], line, within, total[z, y], count[z, y])


def sum_on_grid_numba(
    images: Floats, places: NDArray[np.float64], inset_px: float, total: Floats, count: Floats
) -> None:
    """See `cryoloom.kernels.projection.sum_on_grid.sum_on_grid`; ``total`` and ``count`` are added to."""
    crosses = bool((np.abs(places[:, 1, 1]) > np.abs(places[:, 0, 1])).any())
    turned = np.ascontiguousarray(images.transpose(0, 2, 1)) if crosses else images  # else it is not read
    _sum_on_grid(images, turned, places, inset_px, total, count)
