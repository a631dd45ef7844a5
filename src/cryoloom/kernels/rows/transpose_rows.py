"""Rows turned into columns of 32 rows, as back-projection wants them: numba on the CPU, torch on CUDA."""

from __future__ import annotations

import torch

from cryoloom.kernels.rows.transpose_rows_cpu import transpose_rows_numba, transpose_rows_numba_serial
from cryoloom.kernels.tensors import on_cpu

__all__ = ["transpose_rows"]


def transpose_rows(
    rows: torch.Tensor, first_column: int, columns: torch.Tensor, *, serial: bool = False
) -> None:
    """Fill ``columns`` with the rows turned, from ``first_column`` on; the outermost columns become 0.

    rows    : (tilt, row, n) float32.
    columns : (tilt, column, row) float32, overwritten; rows beyond those given become 0. On the rows' device.
    serial  : on the CPU, work on the calling thread only.
    """
    n_inside = columns.shape[1] - 2
    if len(rows) != len(columns) or rows.shape[1] > columns.shape[2]:
        raise ValueError(f"rows {tuple(rows.shape)} do not fit into columns {tuple(columns.shape)}")
    if first_column < 0 or first_column + n_inside > rows.shape[2]:
        raise ValueError(f"rows of {rows.shape[2]} do not hold {n_inside} columns from {first_column} on")
    if on_cpu(rows, columns):
        transpose = transpose_rows_numba_serial if serial else transpose_rows_numba
        transpose(rows.numpy(), first_column, columns.numpy())
        return
    columns.zero_()
    columns[:, 1:-1, : rows.shape[1]] = rows[..., first_column : first_column + n_inside].transpose(1, 2)
