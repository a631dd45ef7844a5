"""Rows turned into columns of 32 rows on the CPU: one numba loop over blocks of columns."""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from cryoloom.kernels.compile import parallel_and_serial

__all__ = ["transpose_rows_numba", "transpose_rows_numba_serial"]

Floats = NDArray[np.float32]

_BLOCK = 64
"""Columns turned at a time: they stay in the first-level cache."""


def _transpose_rows(rows: Floats, first_column: int, columns: Floats) -> None:
    """See `cryoloom.kernels.rows.transpose_rows.transpose_rows`."""
    n_blocks = (columns.shape[1] + _BLOCK - 1) // _BLOCK
    for job in prange(len(rows) * n_blocks):
        tilt, block = job // n_blocks, job % n_blocks
        _transpose_block(rows[tilt], first_column, columns[tilt], block * _BLOCK)


transpose_rows_numba, transpose_rows_numba_serial = parallel_and_serial(_transpose_rows, error_model="numpy")


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _transpose_block(rows: Floats, first_column: int, columns: Floats, start: int) -> None:
    n_columns, width = columns.shape
    inside_start, inside_stop = max(1, start), min(n_columns - 1, start + _BLOCK)
    for row in range(len(rows)):
        for column in range(inside_start, inside_stop):
            columns[column, row] = rows[row, first_column + column - 1]
    columns[inside_start:inside_stop, len(rows) : width] = 0
    if start == 0:
        columns[0] = 0
        columns[n_columns - 1] = 0
