"""Filtered rows made twice finer and turned into columns of 32 rows, as back-projection wants them.

Between two samples of a row lies the sum of its neighbours, each times a tap of an interpolation filter: the
rows are turned first, so that 32 of these sums run side by side. A Fourier transform of twice the length does
the same exactly and takes twice the time.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from cryoloom.kernels.vector_code import ROWS, add_runs, pointer, transpose_8x8

__all__ = ["refine_rows_alone"]

Floats = NDArray[np.float32]

_BLOCK = 64
"""Columns turned at a time: with their neighbours they stay in the first-level cache."""


@numba.njit(error_model="numpy", nogil=True, cache=True)
def refine_rows_alone(rows: Floats, first_column: int, taps: Floats, columns: Floats) -> None:
    """Fill ``columns`` with the rows turned, from ``first_column`` on, and what lies between their samples.

    rows    : (image, row, n) float32, contiguous, up to 32 rows; ``len(taps)`` more samples on both sides
              of those asked for.
    taps    : (k,) float32: between samples i and i + 1 is ``sum_k taps[k] (row[i - k] + row[i + 1 + k])``.
    columns : (image, 2 m + 2, 32) float32, overwritten; the outermost columns become 0, and so do rows
              beyond those given.

    The calling thread works alone: many do so side by side, each for another image.
    """
    offsets, weights = _runs(taps)
    for image in range(len(rows)):
        for start in range(0, columns.shape[1] // 2 - 1, _BLOCK):
            _refine_block(rows[image], first_column, offsets, weights, columns[image], start)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _runs(taps: Floats) -> tuple[NDArray[np.int32], Floats]:
    """Offsets and weights of the neighbours, for `add_runs`."""
    n = len(taps)
    weights = np.empty(2 * n, np.float32)
    for k in range(n):
        weights[n - 1 - k] = weights[n + k] = taps[k]
    return (np.arange(2 * n) * ROWS).astype(np.int32), weights


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _refine_block(
    rows: Floats, first_column: int, offsets: NDArray[np.int32], weights: Floats, columns: Floats, start: int
) -> None:
    """Columns 1 + 2 start and on, a block of them and those between them."""
    n_rows, n = rows.shape
    reach, last = len(weights) // 2, len(columns) - 1
    here = min(_BLOCK, last // 2 - start)
    first, n_turned = first_column + start - reach + 1, here + 2 * reach - 1
    turned = np.zeros(((n_turned + 7) // 8 * 8, ROWS), np.float32)
    for column in range(0, n_turned, 8):
        if n_rows == ROWS and first + column + 8 <= n:
            for row in range(0, ROWS, 8):
                source = pointer(rows, row * n + first + column)
                transpose_8x8(pointer(turned, column * ROWS + row), ROWS, source, n)
        else:
            for i in range(column, min(column + 8, n_turned)):
                for row in range(n_rows):
                    turned[i, row] = rows[row, first + i]
    for i in range(here):
        sample, between = columns[1 + 2 * (start + i)], columns[2 + 2 * (start + i)]
        for row in range(ROWS):
            sample[row] = turned[i + reach - 1, row]
            between[row] = 0
        target = pointer(columns, (2 + 2 * (start + i)) * ROWS)
        add_runs(target, pointer(turned, i * ROWS), pointer(offsets, 0), pointer(weights, 0), len(weights))
    if start == 0:
        columns[0] = 0
        columns[last] = 0
