"""Rows continued, filtered, made twice finer and turned into columns of 32 rows: vector code or torch."""

from __future__ import annotations

import numpy as np
import torch

from cryoloom.kernels.rows.filter_rows_cpu import filter_rows_numba
from cryoloom.kernels.rows.filter_rows_torch import filter_rows_torch
from cryoloom.kernels.tensors import on_cpu
from cryoloom.kernels.vector.column_transform import in_transform_order, plan_transform
from cryoloom.kernels.vector.ir import ROWS
from cryoloom.kernels.vector.support import vector_code_fits

__all__ = ["filter_rows"]


def filter_rows(
    rows: torch.Tensor,
    first_row: int,
    filters: torch.Tensor,
    taps: torch.Tensor,
    work: torch.Tensor,
    columns: torch.Tensor,
) -> None:
    """Fill ``columns`` with 32 filtered rows from ``first_row`` on and what lies between their samples.

    rows    : (tilt, row, n) float32, contiguous, NaN outside the image and finite within it.
    filters : (tilt, n_padded // 2 + 1) float32, factors of the rows' rfft; n_padded has no factors but 2, 3
              and 5.
    taps    : (k,) float32: between samples i and i + 1 is ``sum_k taps[k] (row[i - k] + row[i + 1 + k])``;
              fewer than the samples that n_padded has on either side of n.
    work    : (thread, n_padded, 32) float32, overwritten: on the CPU as many tilts are processed at a time.
    columns : (tilt, 2 n + 2, 32), overwritten; the outermost columns and rows beyond the last become 0.

    Beyond the image a row goes on with the mean of its outermost pixels (1/64 of the row), which falls to 0
    as a raised cosine over the padding: a step there would become a bright edge after the ramp filter. A row
    without an image is 0. All tensors lie on one device.
    """
    (n_tilts, _, n), n_padded = rows.shape, work.shape[1]
    if columns.shape != (n_tilts, 2 * n + 2, ROWS) or filters.shape != (n_tilts, n_padded // 2 + 1):
        raise ValueError(
            f"rows {tuple(rows.shape)} do not fit columns {tuple(columns.shape)} and filters "
            f"{tuple(filters.shape)}"
        )
    if on_cpu(rows, filters, taps, work, columns) and vector_code_fits(rows):
        transform = plan_transform(n_padded)
        factors = in_transform_order(filters.numpy(), transform) / np.float32(n_padded)
        filter_rows_numba(
            rows.numpy(), first_row, factors, transform, taps.numpy(), work.numpy(), columns.numpy()
        )
    else:
        filter_rows_torch(rows, first_row, filters, n_padded, taps, columns)
