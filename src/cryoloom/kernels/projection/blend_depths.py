"""Images between depths: weighted sums of a tilt's images corrected at several depths, column by column."""

from __future__ import annotations

import torch

from cryoloom.kernels.projection.blend_depths_cpu import blend_depths_numba
from cryoloom.kernels.tensors import on_cpu

__all__ = ["blend_depths"]


def blend_depths(
    nodes: torch.Tensor,
    weights: torch.Tensor,
    first_node: torch.Tensor,
    used: torch.Tensor,
    images: torch.Tensor,
) -> None:
    """Fill each tilt's image, in the columns used, with the weighted sum of its nodes.

    nodes      : (node, column, row) float32, contiguous, the nodes of a tilt one after the other.
    weights    : (node, column) float32.
    first_node : (tilt + 1,) int64 in the CPU's memory; the nodes of tilt t are ``first_node[t]`` to
                 ``first_node[t + 1] - 1``.
    used       : (tilt, 2) int64 in the CPU's memory, first column and the one after the last.
    images     : (tilt, column, row) float32, contiguous; other columns are left as they are.
    """
    if on_cpu(nodes, weights, images):
        blend_depths_numba(nodes.numpy(), weights.numpy(), first_node.numpy(), used.numpy(), images.numpy())
        return
    for t, (first, last) in enumerate(used.tolist()):
        columns, own = slice(first, last), slice(int(first_node[t]), int(first_node[t + 1]))
        images[t, columns] = torch.einsum("kcr,kc->cr", nodes[own, columns], weights[own, columns])
