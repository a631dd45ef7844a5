"""Level and spread of an image's patches, and the pixels far above them, on the CPU: numba loops."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["patch_levels_numba", "pixels_above_numba"]


@numba.njit(nogil=True, cache=True)
def patch_levels_numba(
    image: NDArray[np.float32],
    edges_y: NDArray[np.int64],
    edges_x: NDArray[np.int64],
    level: NDArray[np.float32],
    sigma: NDArray[np.float32],
) -> None:
    """See `cryoloom.kernels.movies.bright_pixels.patch_levels`; the same on NumPy arrays."""
    largest_y, largest_x = np.diff(edges_y).max(), np.diff(edges_x).max()
    values = np.empty(((largest_y + 1) // 2) * ((largest_x + 1) // 2), np.float32)
    for i in range(level.shape[0]):
        for j in range(level.shape[1]):
            n = 0
            for y in range(edges_y[i], edges_y[i + 1], 2):
                for x in range(edges_x[j], edges_x[j + 1], 2):
                    values[n] = image[y, x]
                    n += 1
            ordered = np.sort(values[:n])
            low, middle = _quantile(ordered, 0.15866), _quantile(ordered, 0.5)
            level[i, j], sigma[i, j] = middle, middle - low


@numba.njit(nogil=True, cache=True)
def _quantile(ordered: NDArray[np.float32], part: float) -> float:
    """Quantile of sorted values, with linear interpolation."""
    position = part * (len(ordered) - 1)
    i = int(position)
    upper = ordered[min(i + 1, len(ordered) - 1)]
    return ordered[i] + (position - i) * (upper - ordered[i])


@numba.njit(nogil=True, cache=True)
def pixels_above_numba(
    image: NDArray[np.float32],
    edges_y: NDArray[np.int64],
    edges_x: NDArray[np.int64],
    threshold: NDArray[np.float32],
    found: NDArray[np.int64],
) -> int:
    """See `cryoloom.kernels.movies.bright_pixels.pixels_above`; the same on NumPy arrays."""
    n = 0
    for i in range(threshold.shape[0]):
        for y in range(edges_y[i], edges_y[i + 1]):
            for j in range(threshold.shape[1]):
                limit = threshold[i, j]
                for x in range(edges_x[j], edges_x[j + 1]):
                    if image[y, x] > limit:
                        found[n, 0], found[n, 1] = y, x
                        n += 1
                        if n == len(found):
                            return n
    return n
