"""Fourier transforms of frames on the CPU as vector code: 32 rows side by side, then 16 columns.

Two real rows are one complex row, and are separated afterwards. Lines lie as the transform along y takes
them, 16 columns of a frame in one piece that stays in the second-level cache.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from cryoloom.kernels.vector.code import (
    interleave_parts,
    join_rows,
    pointer,
    separate_parts,
    separate_rows,
    transpose_8x8,
)
from cryoloom.kernels.vector.column_transform import ColumnTransform, inverse_columns, transform_columns
from cryoloom.kernels.vector.ir import ROWS

__all__ = ["lines_back_numba", "rows_back_numba", "transform_lines_numba", "transform_rows_numba"]

Floats = NDArray[np.float32]

_HALF = ROWS // 2  # of the rows of a strip: the real parts; the others are the imaginary ones


@numba.njit(error_model="numpy", nogil=True, cache=True)
def transform_rows_numba(
    rows: Floats, row: int, column: int, transform: ColumnTransform, places: NDArray[np.int64],
    n_columns: int, work: Floats, tile: Floats, lines: Floats,
) -> None:  # fmt: skip
    """See `cryoloom.kernels.movies.frame_transform.transform_rows`.

    places : (n,), where the transform leaves each frequency. work : (n, 32). tile : (4, 16, 16).
    """
    n, n_y = len(work), lines.shape[1]
    _turn(rows, column, work)
    transform_columns(work, transform)
    for block in range(len(lines)):
        for i in range(_HALF):
            k = block * _HALF + i
            if k >= n_columns:
                tile[:, i] = 0
                continue
            one, mirrored = places[k] * ROWS, places[(n - k) % n] * ROWS
            separate_rows(pointer(tile, i * _HALF), _HALF**2, pointer(work, one), pointer(work, mirrored))
        for part in range(4):
            first, lane = row + part // 2 * _HALF, part % 2 * _HALF
            for i in range(0, _HALF, 8):
                _store(tile, part, i, lines, (block * n_y + first + i) * ROWS + lane, n_y - first - i)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _turn(rows: Floats, column: int, work: Floats) -> None:
    """``work (n, 32)`` from 32 rows, each as a column that begins at ``column``, 0 around them."""
    n = rows.shape[1]
    n_blocks = n // 8 * 8
    work[:column] = 0
    work[column + n :] = 0
    for i in range(0, ROWS, 8):
        for c in range(0, n_blocks, 8):
            transpose_8x8(pointer(work, (column + c) * ROWS + i), ROWS, pointer(rows, i * n + c), n)
    for c in range(n_blocks, n):
        for i in range(ROWS):
            work[column + c, i] = rows[i, c]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _store(tile: Floats, part: int, i: int, lines: Floats, to: int, n_left: int) -> None:
    """Eight rows of 16 frequencies, as many as there are, one line apart from the element ``to`` on."""
    for j in range(0, _HALF, 8):
        if n_left >= 8:
            source = pointer(tile, (part * _HALF + j) * _HALF + i)
            transpose_8x8(pointer(lines, to + j), ROWS, source, _HALF)
            continue
        flat = lines.reshape(lines.size)
        for row in range(n_left):
            for k in range(8):
                flat[to + row * ROWS + j + k] = tile[part, j + k, i + row]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def transform_lines_numba(lines: Floats, transform: ColumnTransform, into: Floats) -> None:
    """See `cryoloom.kernels.movies.frame_transform.transform_lines`; ``into (y, x, 2)``."""
    n_y, (kept, n_columns) = lines.shape[1], into.shape[:2]
    half = kept // 2
    for block in range(len(lines)):
        transform_columns(lines[block], transform)
        first = block * _HALF
        for i in range(n_y):
            y = transform.order[i]
            if y >= half:
                y -= n_y - kept
                if y < half:
                    continue
            if first + _HALF <= n_columns:
                target = pointer(into, 2 * (y * n_columns + first))
                interleave_parts(target, pointer(lines, (block * n_y + i) * ROWS))
                continue
            for j in range(n_columns - first):
                into[y, first + j, 0] = lines[block, i, j]
                into[y, first + j, 1] = lines[block, i, _HALF + j]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def lines_back_numba(spectrum: Floats, first_block: int, transform: ColumnTransform, lines: Floats) -> None:
    """See `cryoloom.kernels.movies.frame_transform.lines_back`; ``spectrum (y, x, 2)``."""
    n_y, n_columns = spectrum.shape[:2]
    for block in range(len(lines)):
        first = (first_block + block) * _HALF
        n = min(_HALF, n_columns - first)
        for i in range(n_y):
            y = transform.order[i]
            if n == _HALF:
                source = pointer(spectrum, 2 * (y * n_columns + first))
                separate_parts(pointer(lines, (block * n_y + i) * ROWS), source)
                continue
            lines[block, i] = 0
            for j in range(n):
                lines[block, i, j] = spectrum[y, first + j, 0]
                lines[block, i, _HALF + j] = spectrum[y, first + j, 1]
        inverse_columns(lines[block], transform)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def rows_back_numba(
    lines: Floats, row: int, column: int, transform: ColumnTransform, places: NDArray[np.int64],
    work: Floats, tile: Floats, rows: Floats,
) -> None:  # fmt: skip
    """See `cryoloom.kernels.movies.frame_transform.rows_back`; the rest as for `transform_rows_numba`."""
    n, n_y = len(work), lines.shape[1]
    for block in range(len(lines)):
        for part in range(4):
            first, lane = row + part // 2 * _HALF, part % 2 * _HALF
            for i in range(0, _HALF, 8):
                _fetch(lines, (block * n_y + first + i) * ROWS + lane, n_y - first - i, tile, part, i)
        for i in range(min(_HALF, n // 2 + 1 - block * _HALF)):
            k = block * _HALF + i
            if k == 0 or 2 * k == n:
                for j in range(_HALF):
                    work[places[k], j] = tile[0, i, j]
                    work[places[k], _HALF + j] = tile[2, i, j]
                continue
            one, mirrored = places[k] * ROWS, places[n - k] * ROWS
            join_rows(pointer(work, one), pointer(work, mirrored), pointer(tile, i * _HALF), _HALF**2)
    inverse_columns(work, transform)
    width = rows.shape[1]
    n_blocks = width // 8 * 8
    for i in range(0, ROWS, 8):
        for c in range(0, n_blocks, 8):
            target, source = pointer(rows, i * width + c), pointer(work, (column + c) * ROWS + i)
            transpose_8x8(target, width, source, ROWS)
    for c in range(n_blocks, width):
        for i in range(ROWS):
            rows[i, c] = work[column + c, i]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _fetch(lines: Floats, at: int, n_left: int, tile: Floats, part: int, i: int) -> None:
    """16 frequencies of eight rows, as many as there are and 0 for others, one line apart from ``at`` on."""
    flat = lines.reshape(lines.size)
    for j in range(0, _HALF, 8):
        if n_left >= 8:
            target = pointer(tile, (part * _HALF + j) * _HALF + i)
            transpose_8x8(target, _HALF, pointer(lines, at + j), ROWS)
            continue
        for row in range(8):
            for k in range(8):
                tile[part, j + k, i + row] = flat[at + row * ROWS + j + k] if row < n_left else 0
