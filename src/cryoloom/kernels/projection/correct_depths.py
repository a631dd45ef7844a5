"""Aligned images filtered for back-projection and corrected for the contrast transfer at several depths.

One signature, vector code on the CPU and torch elsewhere.
"""

from __future__ import annotations

import numpy as np
import torch

from cryoloom.kernels.projection.correct_depths_cpu import DepthFactorArrays, correct_depths_numba
from cryoloom.kernels.projection.correct_depths_torch import correct_depths_torch
from cryoloom.kernels.projection.depth_factors import METHODS, DepthFactors, TransformLengths
from cryoloom.kernels.tensors import on_cpu
from cryoloom.kernels.vector.column_transform import in_transform_order, plan_transform
from cryoloom.kernels.vector.ir import ROWS
from cryoloom.kernels.vector.support import vector_code_fits

__all__ = ["METHODS", "DepthFactors", "TransformLengths", "correct_depths"]


def correct_depths(
    rows: torch.Tensor,
    filters: torch.Tensor,
    factors: DepthFactors,
    lengths: TransformLengths,
    margin: int,
    taps: torch.Tensor,
    n_threads: int,
    nodes: torch.Tensor,
) -> None:
    """Fill ``nodes (strip, node, 2 n + 2, 32)`` with corrected images, as `filter_rows` makes plain ones.

    rows    : (tilt, 32 strips + 2 margin, n) float32, contiguous, NaN outside the image; fewer rows end in 0.
    filters : (tilt, n_padded // 2 + 1) float32, as `filter_rows` takes them.
    factors : in the CPU's memory.
    margin  : how far a correction spreads a point; at least ``len(taps)``.
    n_threads : on the CPU, tilts processed at a time; each takes memory for twice its rows and as many for
    every node.
    """
    if nodes.shape[2:] != (2 * rows.shape[2] + 2, ROWS) or nodes.shape[1] != len(factors.depths):
        raise ValueError(
            f"rows {tuple(rows.shape)} and {len(factors.depths)} depths do not fit {tuple(nodes.shape)}"
        )
    if margin < len(taps):
        raise ValueError(f"expected a margin of at least {len(taps)}, got {margin}")
    if not (on_cpu(rows, filters, taps, nodes) and vector_code_fits(rows)):
        correct_depths_torch(rows, filters, factors, lengths, margin, taps, nodes)
        return
    arrays = DepthFactorArrays(
        factors.forms.numpy(),
        factors.first_node.numpy(),
        factors.depths.numpy(),
        factors.method,
        np.float32(factors.noise),
    )
    padded, along_x, along_y = (plan_transform(n) for n in lengths)
    in_order = in_transform_order(filters.numpy(), padded) / np.float32(lengths.padded)
    correct_depths_numba(
        rows.numpy(), in_order, arrays, padded, along_x, along_y, margin, taps.numpy(), n_threads,
        nodes.numpy(),
    )  # fmt: skip
