"""Aligned images filtered for back-projection and corrected for the contrast transfer at several depths.

Vector code on the CPU; elsewhere `depth_correction` corrects images one by one with torch's transforms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from cryoloom.kernels.projection.correct_depths_cpu import DepthFactorArrays, correct_depths_numba
from cryoloom.kernels.tensors import expect_cpu
from cryoloom.kernels.vector.column_transform import ColumnTransform
from cryoloom.kernels.vector.ir import ROWS

__all__ = ["METHODS", "DepthFactors", "correct_depths"]

METHODS = ("multiply", "phase_flip", "wiener")
"""Corrections, by the number `DepthFactors` calls them."""


class DepthFactors(NamedTuple):
    """What spectra are multiplied by: a function of ``c = sin(2 pi turns)``, by tilt, frequency and depth.

    With x and y in cycles per pixel, ``s = k_xx x^2 + k_xy x y + k_yy y^2`` and so on,
    ``turns = d_xx x^2 + d_xy x y + d_yy y^2 + fourth s^2 + constant - depth s``.
    """

    forms: torch.Tensor
    """(tilt, 8) float32: d_xx, d_xy, d_yy, k_xx, k_xy, k_yy, fourth, constant."""
    first_node: torch.Tensor
    """(tilt + 1,) int64, the depths of tilt t are ``first_node[t]`` to ``first_node[t + 1] - 1``."""
    depths: torch.Tensor
    """(node,) float32 in the unit that the forms ask for."""
    method: int
    """Index into METHODS: ``c``, its sign, or ``c / (c^2 + noise)``."""
    noise: float


def correct_depths(
    rows: torch.Tensor,
    filters: torch.Tensor,
    factors: DepthFactors,
    padded: ColumnTransform,
    along_x: ColumnTransform,
    along_y: ColumnTransform,
    margin: int,
    taps: torch.Tensor,
    n_threads: int,
    nodes: torch.Tensor,
) -> None:
    """Fill ``nodes (strip, node, 2 n + 2, 32)`` with corrected images, as `filter_rows` makes plain ones.

    rows    : (tilt, 32 strips + 2 margin, n) float32, contiguous, NaN outside the image; fewer rows end in 0.
    filters : (tilt, n_padded) float32, `filter_rows`' factors, in the order of ``padded``.
    margin  : how far a correction spreads a point; at least ``len(taps)``.
    along_x, along_y : transforms of at least ``n + 2 margin`` columns, and of as many rows as half of the
    strips (the larger half) and two margins have, up to the next multiple of 16.
    n_threads : tilts processed at a time; each takes memory for twice its rows and as many for every node.
    """
    expect_cpu("correct_depths", rows, filters, nodes)
    if nodes.shape[2:] != (2 * rows.shape[2] + 2, ROWS) or nodes.shape[1] != len(factors.depths):
        raise ValueError(
            f"rows {tuple(rows.shape)} and {len(factors.depths)} depths do not fit {tuple(nodes.shape)}"
        )
    if margin < len(taps):
        raise ValueError(f"expected a margin of at least {len(taps)}, got {margin}")
    arrays = DepthFactorArrays(
        factors.forms.numpy(),
        factors.first_node.numpy(),
        factors.depths.numpy(),
        factors.method,
        np.float32(factors.noise),
    )
    correct_depths_numba(
        rows.numpy(), filters.numpy(), arrays, padded, along_x, along_y, margin, taps.numpy(), n_threads,
        nodes.numpy(),
    )  # fmt: skip
