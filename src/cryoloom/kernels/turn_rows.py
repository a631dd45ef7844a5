"""Filtered rows turned into columns of 32 rows, as back-projection wants them: one numba loop, two ways."""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

__all__ = ["turn_rows", "turn_rows_alone"]


@numba.njit(parallel=True, error_model="numpy", nogil=True, cache=True)
def turn_rows(rows: NDArray[np.float32], first_column: int, columns: NDArray[np.float32]) -> None:
    """Fill ``columns`` with the rows turned, from ``first_column`` on; the outermost columns become 0.

    rows    : (tilt, row, n) float32, contiguous.
    columns : (tilt, column, row) float32, contiguous, overwritten; rows beyond those given become 0.
    """
    n_tilts, n_rows, _ = rows.shape
    _, n_columns, width = columns.shape
    n_blocks = (n_columns + 63) // 64
    for job in prange(n_tilts * n_blocks):
        tilt, block = job // n_blocks, job % n_blocks
        start, stop = max(1, block * 64), min(n_columns - 1, block * 64 + 64)
        for row in range(n_rows):
            for column in range(start, stop):
                columns[tilt, column, row] = rows[tilt, row, first_column + column - 1]
        columns[tilt, start:stop, n_rows:width] = 0
        if block == 0:
            columns[tilt, 0] = 0
            columns[tilt, n_columns - 1] = 0


turn_rows_alone = numba.njit(error_model="numpy", nogil=True, cache=True)(turn_rows.py_func)
"""The same on the calling thread alone."""
