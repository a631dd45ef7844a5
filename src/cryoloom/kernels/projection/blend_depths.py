"""Images between depths: weighted sums of a tilt's images corrected at several depths, column by column."""

from __future__ import annotations

import numba
import numpy as np
import torch
from numba import prange
from numpy.typing import NDArray

__all__ = ["blend_depths"]


def blend_depths(
    nodes: torch.Tensor,
    weights: torch.Tensor,
    first_node: NDArray[np.int64],
    used: NDArray[np.int64],
    images: torch.Tensor,
) -> None:
    """Fill each tilt's image, in the columns used, with the weighted sum of its nodes.

    nodes      : (node, column, row) float32, contiguous, the nodes of a tilt one after the other.
    weights    : (node, column) float32.
    first_node : (tilt + 1,); the nodes of tilt t are ``first_node[t]`` to ``first_node[t + 1] - 1``.
    used       : (tilt, 2), first column and the one after the last.
    images     : (tilt, column, row) float32, contiguous; other columns are left as they are.
    """
    if images.device.type == "cpu":
        _blend(nodes.numpy(), weights.numpy(), first_node, used, images.numpy())
        return
    for t in range(len(images)):
        columns, own = slice(*map(int, used[t])), slice(int(first_node[t]), int(first_node[t + 1]))
        images[t, columns] = torch.einsum("kcr,kc->cr", nodes[own, columns], weights[own, columns])


@numba.njit(parallel=True, fastmath=True, error_model="numpy", nogil=True, cache=True)
def _blend(
    nodes: NDArray[np.float32],
    weights: NDArray[np.float32],
    first_node: NDArray[np.int64],
    used: NDArray[np.int64],
    images: NDArray[np.float32],
) -> None:
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
