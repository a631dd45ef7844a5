"""Aligned rows made what back-projection reads: continued beyond the image, filtered, turned, twice finer.

The rows are turned into columns of 32 first; all that follows is done to the 32 rows side by side, in memory
that stays in the second-level cache. Between two samples of a row lies the sum of its neighbours, each times
a tap of an interpolation filter: a transform of twice the length does the same exactly and takes longer.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from cryoloom.kernels.vector.code import interpolate_two, pointer, transpose_8x8
from cryoloom.kernels.vector.column_transform import ColumnTransform, filter_columns
from cryoloom.kernels.vector.ir import ROWS

__all__ = ["extend_turned", "filter_rows_numba", "refine_columns"]

Floats = NDArray[np.float32]


@numba.njit(parallel=True, error_model="numpy", nogil=True, cache=True)
def filter_rows_numba(
    rows: Floats,
    first_row: int,
    factors: Floats,
    transform: ColumnTransform,
    taps: Floats,
    work: Floats,
    columns: Floats,
) -> None:
    """See `cryoloom.kernels.rows.filter_rows.filter_rows`; the same on NumPy arrays."""
    n_tilts, _, n_columns = rows.shape
    n_threads = min(len(work), n_tilts)
    before = (work.shape[1] - n_columns) // 2
    for thread in prange(n_threads):
        for tilt in range(thread, n_tilts, n_threads):
            extend_turned(rows[tilt], first_row, first_row + ROWS // 2, work[thread])
            filter_columns(work[thread], factors[tilt], transform)
            refine_columns(work[thread], before, taps, columns[tilt])


@numba.njit(error_model="numpy", nogil=True, cache=True, fastmath={"contract"})
def extend_turned(rows: Floats, first: int, second: int, columns: Floats) -> None:
    """Fill ``columns (n_padded, 32)`` with 16 rows from ``first`` and 16 from ``second`` on, continued.

    rows : (row, n) float32; rows beyond the last are 0.
    """
    n_columns, n_padded = rows.shape[1], len(columns)
    before = (n_padded - n_columns) // 2
    begins, ends = np.empty(ROWS, np.float32), np.empty(ROWS, np.float32)
    left, right = np.zeros(ROWS, np.float32), np.zeros(ROWS, np.float32)
    last_begin, first_end = 0, n_columns
    for i in range(ROWS):
        row = first + i if i < ROWS // 2 else second + i - ROWS // 2
        begins[i], ends[i] = n_columns, 0
        if row < len(rows):
            begins[i], ends[i], left[i], right[i] = _seen(rows[row])
        last_begin, first_end = max(last_begin, int(begins[i])), min(first_end, int(ends[i]))
    _turn(rows, first, columns, before, 0)
    _turn(rows, second, columns, before, ROWS // 2)
    per_pixel = np.float32(1 / max(1, before))
    for c in range(before + last_begin):
        here = np.float32(c - before)
        for i in range(ROWS):
            outside = begins[i] - here
            value = left[i] * _fade(outside * per_pixel)
            columns[c, i] = value if outside > 0 else columns[c, i]
    for c in range(before + first_end, n_padded):
        here = np.float32(c - before + 1)
        for i in range(ROWS):
            outside = here - ends[i]
            value = right[i] * _fade(outside * per_pixel)
            columns[c, i] = value if outside > 0 else columns[c, i]


@numba.njit(inline="always")
def _fade(part: np.float32) -> np.float32:
    """A raised cosine, 1 at 0 and 0 from 1 on: ``(1 - sin(pi (part - 1/2))) / 2``, to a millionth."""
    at = np.float32(np.pi) * (min(max(part, np.float32(0)), np.float32(1)) - np.float32(0.5))
    square = at * at
    # Taylor's series up to the ninth power, times -1/2.
    series = np.float32(1 / 5040) - square * np.float32(1 / 362880)
    series = np.float32(1 / 120) - square * series
    series = np.float32(1 / 6) - square * series
    return np.float32(0.5) - np.float32(0.5) * at * (np.float32(1) - square * series)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _seen(row: Floats) -> tuple[int, int, float, float]:
    """First pixel of the image and the one after its last; mean of those at either end."""
    n = len(row)
    begin, end = 0, n
    while begin < n and np.isnan(row[begin]):
        begin += 1
    if begin == n:
        return n, 0, 0.0, 0.0
    while np.isnan(row[end - 1]):
        end -= 1
    near = min(max(2, n // 64), end - begin)
    left, right = np.float32(0), np.float32(0)
    for i in range(near):
        left += row[begin + i]
        right += row[end - near + i]
    return begin, end, float(left / near), float(right / near)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _turn(rows: Floats, first: int, columns: Floats, before: int, lane: int) -> None:
    """Half of the rows of ``columns``, ``lane`` and on, from 16 rows from ``first`` on."""
    n_rows, n = rows.shape
    n_blocks = n // 8 * 8
    for start in range(0, ROWS // 2, 8):
        whole = first + start + 8 <= n_rows
        for c in range(0, n_blocks if whole else 0, 8):
            target = pointer(columns, (before + c) * ROWS + lane + start)
            transpose_8x8(target, ROWS, pointer(rows, (first + start) * n + c), n)
        for c in range(n_blocks if whole else 0, n):
            for i in range(start, start + 8):
                value = rows[first + i, c] if first + i < n_rows else np.float32(0)
                columns[before + c, lane + i] = value


@numba.njit(error_model="numpy", nogil=True, cache=True)
def refine_columns(samples: Floats, first: int, taps: Floats, columns: Floats) -> None:
    """Fill ``columns (2 m + 2, 32)`` with samples from ``first`` on and what is between them, one after each.

    samples : (n, 32), ``len(taps)`` more on both sides of the m requested, at least 2. The outermost
    columns become 0.
    """
    n_taps, n = len(taps), len(columns) // 2 - 1
    weights = np.empty(2 * n_taps, np.float32)
    for k in range(n_taps):
        weights[n_taps - 1 - k] = weights[n_taps + k] = taps[k]
    for i in range(n):
        for row in range(ROWS):
            columns[1 + 2 * i, row] = samples[first + i, row]
    for pair in range(0, n, 2):
        i = min(pair, n - 2)
        between = pointer(columns, (2 + 2 * i) * ROWS)
        source = pointer(samples, (first + i + 1 - n_taps) * ROWS)
        interpolate_two(between, source, pointer(weights, 0), 2 * n_taps)
    columns[0] = 0
    columns[len(columns) - 1] = 0
