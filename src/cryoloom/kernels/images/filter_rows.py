"""Rows continued, filtered, made twice finer and turned into columns of 32 rows, as vector code on the CPU.

Elsewhere `extend_rows`, torch's transforms and `transpose_rows` do the same (`back_projection`).
"""

from __future__ import annotations

import torch

from cryoloom.kernels.tensors import expect_cpu
from cryoloom.kernels.vector.column_transform import ColumnTransform
from cryoloom.kernels.vector.filter_rows import filter_rows_numba
from cryoloom.kernels.vector.ir import ROWS

__all__ = ["filter_rows"]


def filter_rows(
    rows: torch.Tensor,
    first_row: int,
    factors: torch.Tensor,
    transform: ColumnTransform,
    taps: torch.Tensor,
    work: torch.Tensor,
    columns: torch.Tensor,
) -> None:
    """Fill ``columns`` with 32 filtered rows from ``first_row`` on and what lies between their samples.

    rows    : (tilt, row, n) float32, contiguous, NaN outside the image and finite within it.
    factors : (tilt, n_padded) float32, even in frequency, in the order of the transform, over n_padded.
    taps    : (k,) float32: between samples i and i + 1 is ``sum_k taps[k] (row[i - k] + row[i + 1 + k])``;
              fewer than the samples that n_padded has on either side of n.
    work    : (thread, n_padded, 32), as many tilts at a time are processed.
    columns : (tilt, 2 n + 2, 32), overwritten; the outermost columns and rows beyond the last become 0.

    Beyond the image a row goes on with the mean of its outermost pixels (1/64 of the row), which falls to 0
    as a raised cosine over the padding: a step there would become a bright edge after the ramp filter. A row
    without an image is 0.
    """
    expect_cpu("filter_rows", rows, factors, work, columns)
    n_tilts, _, n = rows.shape
    if columns.shape != (n_tilts, 2 * n + 2, ROWS) or factors.shape != (n_tilts, work.shape[1]):
        raise ValueError(
            f"rows {tuple(rows.shape)} do not fit columns {tuple(columns.shape)} and factors "
            f"{tuple(factors.shape)}"
        )
    filter_rows_numba(
        rows.numpy(), first_row, factors.numpy(), transform, taps.numpy(), work.numpy(), columns.numpy()
    )
