"""Filtered rows turned into columns of 32 rows, as back-projection wants them: one numba loop, two ways."""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

__all__ = ["transpose_rows", "transpose_rows_serial"]

Floats = NDArray[np.float32]

_BLOCK = 64
"""Columns turned at a time: they stay in the first-level cache."""


@numba.njit(parallel=True, error_model="numpy", nogil=True, cache=True)
def transpose_rows(rows: Floats, first_column: int, columns: Floats) -> None:
    """Fill ``columns`` with the rows turned, from ``first_column`` on; the outermost columns become 0.

    rows    : (tilt, row, n) float32.
    columns : (tilt, column, row) float32, overwritten; rows beyond those given become 0.
    """
    n_blocks = (columns.shape[1] + _BLOCK - 1) // _BLOCK
    for job in prange(len(rows) * n_blocks):
        tilt, block = job // n_blocks, job % n_blocks
        _turn_block(rows[tilt], first_column, columns[tilt], block * _BLOCK)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def transpose_rows_serial(rows: Floats, first_column: int, columns: Floats) -> None:
    """`transpose_rows` on the calling thread alone."""
    for tilt in range(len(rows)):
        for start in range(0, columns.shape[1], _BLOCK):
            _turn_block(rows[tilt], first_column, columns[tilt], start)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _turn_block(rows: Floats, first_column: int, columns: Floats, start: int) -> None:
    n_columns, width = columns.shape
    inside_start, inside_stop = max(1, start), min(n_columns - 1, start + _BLOCK)
    for row in range(len(rows)):
        for column in range(inside_start, inside_stop):
            columns[column, row] = rows[row, first_column + column - 1]
    columns[inside_start:inside_stop, len(rows) : width] = 0
    if start == 0:
        columns[0] = 0
        columns[n_columns - 1] = 0
