"""Level and spread of an image's patches, and the pixels far above them: numba loops over patches."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["patch_levels", "pixels_above"]


@numba.njit(nogil=True, cache=True)
def patch_levels(
    image: NDArray[np.float32],
    edges_y: NDArray[np.int64],
    edges_x: NDArray[np.int64],
    level: NDArray[np.float32],
    sigma: NDArray[np.float32],
) -> None:
    """Fill median and robust standard deviation of patches ``(n_y, n_x)`` between the edges.

    Every second pixel of every second row is looked at: a thousand values fix the level to 3 % of its spread.
    The deviation is from the median to 15.87 % of the values: the lower side knows nothing of X-rays.
    """
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
    """Value below which a part of ordered values lies, linear between two of them."""
    position = part * (len(ordered) - 1)
    i = int(position)
    upper = ordered[min(i + 1, len(ordered) - 1)]
    return ordered[i] + (position - i) * (upper - ordered[i])


@numba.njit(nogil=True, cache=True)
def pixels_above(
    image: NDArray[np.float32],
    edges_y: NDArray[np.int64],
    edges_x: NDArray[np.int64],
    threshold: NDArray[np.float32],
    found: NDArray[np.int64],
) -> int:
    """Number of pixels above their patch's threshold; the first ``len(found)`` are put there, row by row.

    threshold : (n_y, n_x), of the patches between the edges. found : (n, 2) rows and columns, overwritten. It
    ends counting when ``found`` is full.
    """
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
