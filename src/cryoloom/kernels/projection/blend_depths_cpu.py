"""Images between depths on the CPU: one numba loop over blocks of columns."""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

__all__ = ["blend_depths_numba"]


@numba.njit(parallel=True, fastmath=True, error_model="numpy", nogil=True, cache=True)
def blend_depths_numba(
    nodes: NDArray[np.float32],
    weights: NDArray[np.float32],
    first_node: NDArray[np.int64],
    used: NDArray[np.int64],
    images: NDArray[np.float32],
) -> None:
    """See `cryoloom.kernels.projection.blend_depths.blend_depths`; the same on NumPy arrays."""
    n_tilts, n_columns, n_rows = images.shape
    n_blocks = (n_columns + 63) // 64
    for job in prange(n_tilts * n_blocks):
        t, block = job // n_blocks, job % n_blocks
        for c in range(max(block * 64, used[t, 0]), min(block * 64 + 64, used[t, 1])):
            k = first_node[t]
            weight = weights[k, c]
            for y in range(n_rows):
                images[t, c, y] = weight * nodes[k, c, y]
            for k in range(first_node[t] + 1, first_node[t + 1]):
                weight = weights[k, c]
                if weight != 0:
                    for y in range(n_rows):
                        images[t, c, y] += weight * nodes[k, c, y]
