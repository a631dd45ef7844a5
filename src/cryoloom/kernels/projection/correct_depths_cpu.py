"""Aligned images filtered and corrected at several depths on the CPU, as vector code.

An image is processed as 16 complex rows side by side (`column_transform`): the correction's factors are real
and even, so the real parts may be rows of its upper half and the imaginary ones rows of its lower half. Rows
are transformed along x, then 16 frequencies at a time along y in the first-level cache, where all depths are
made: an image is read once and every corrected one written once.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from cryoloom.kernels.rows.filter_rows_cpu import extend_turned, refine_columns
from cryoloom.kernels.vector.code import new_columns, pointer, transpose_8x8
from cryoloom.kernels.vector.column_transform import (
    ColumnTransform,
    filter_columns,
    inverse_columns,
    transform_columns,
)
from cryoloom.kernels.vector.ir import ROWS

__all__ = ["DepthFactorArrays", "correct_depths_numba"]

Floats = NDArray[np.float32]

_HALF = ROWS // 2
_ROUNDING = np.float32(12582912.0)
"""1.5 * 2^23, beyond which single precision has whole numbers only."""


class DepthFactorArrays(NamedTuple):
    """`cryoloom.kernels.projection.correct_depths.DepthFactors` as NumPy arrays."""

    forms: Floats
    first_node: NDArray[np.int64]
    depths: Floats
    method: int
    noise: np.float32


class _Work(NamedTuple):
    """One thread's memory."""

    filtered: Floats
    """(n_padded, 32)"""
    lines: Floats
    """(block of 16 rows, x, 32): the image, transformed along x."""
    spectrum: Floats
    """(y, 32): 16 frequencies of it, transformed along y."""
    corrected: Floats
    """(y, 32): the same at one depth."""
    made: Floats
    """(node, block of 16 rows, x, 32)"""
    line: Floats
    """(x, 32)"""
    x: Floats
    x_unsigned: Floats
    y: Floats
    """Frequencies in the order of the transforms, up to a multiple of 16."""


@numba.njit(parallel=True, error_model="numpy", nogil=True, cache=True)
def correct_depths_numba(
    rows: Floats,
    filters: Floats,
    factors: DepthFactorArrays,
    padded: ColumnTransform,
    along_x: ColumnTransform,
    along_y: ColumnTransform,
    margin: int,
    taps: Floats,
    n_threads: int,
    nodes: Floats,
) -> None:
    """See `cryoloom.kernels.projection.correct_depths.correct_depths`; the same on NumPy arrays."""
    most = np.diff(factors.first_node).max()
    for thread in prange(n_threads):
        work = _new_work(rows, len(nodes), most, padded, along_x, along_y, margin)
        for tilt in range(thread, len(rows), n_threads):
            _transform_lines(rows[tilt], filters[tilt], padded, along_x, margin, work)
            for first in range(0, len(along_x.order), _HALF):
                _correct_frequencies(tilt, first, factors, along_y, margin, work)
            begin, end = factors.first_node[tilt], factors.first_node[tilt + 1]
            for node in range(end - begin):
                _store(node, along_x, margin, taps, work, nodes[:, begin + node])


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _new_work(
    rows: Floats,
    n_strips: int,
    most_nodes: int,
    padded: ColumnTransform,
    along_x: ColumnTransform,
    along_y: ColumnTransform,
    margin: int,
) -> _Work:
    n_x, n_y = len(along_x.order), len(along_y.order)
    n_even = (n_x + _HALF - 1) // _HALF * _HALF
    half = (n_strips + 1) // 2 * ROWS
    n_blocks, n_made = (half + 2 * margin + _HALF - 1) // _HALF, half // _HALF
    lines = new_columns(n_blocks * n_even).reshape((n_blocks, n_even, ROWS))
    lines[:] = 0
    return _Work(
        new_columns(len(padded.order)),
        lines,
        new_columns(n_y),
        new_columns(n_y),
        new_columns(most_nodes * n_made * n_even).reshape((most_nodes, n_made, n_even, ROWS)),
        new_columns(n_x),
        _frequencies(along_x),
        np.abs(_frequencies(along_x)),
        _frequencies(along_y),
    )


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _transform_lines(
    rows: Floats, filters: Floats, padded: ColumnTransform, along_x: ColumnTransform, margin: int, work: _Work
) -> None:
    """Filter one image's rows and transform them along x."""
    n_x, n_seen = len(along_x.order), rows.shape[1] + 2 * margin
    begin = (len(work.filtered) - rows.shape[1]) // 2 - margin
    half = work.made.shape[1] * _HALF
    for block in range(len(work.lines)):
        extend_turned(rows, block * _HALF, half + block * _HALF, work.filtered)
        filter_columns(work.filtered, filters, padded)
        line = work.lines[block, :n_x]
        line[:n_seen] = work.filtered[begin : begin + n_seen]
        line[n_seen:] = 0
        transform_columns(line, along_x)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _frequencies(transform: ColumnTransform) -> Floats:
    """Cycles per pixel in the order of a transform, negative beyond the middle, up to a multiple of 16."""
    n = len(transform.order)
    frequencies = np.zeros((n + _HALF - 1) // _HALF * _HALF, np.float32)
    for i in range(n):
        k = transform.order[i]
        frequencies[i] = (k if 2 * k < n else k - n) / n
    return frequencies


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _correct_frequencies(
    tilt: int,
    first: int,
    factors: DepthFactorArrays,
    along_y: ColumnTransform,
    margin: int,
    work: _Work,
) -> None:
    """16 frequencies of the lines, from ``first`` on: corrected at every depth of a tilt."""
    n_even, n_blocks = work.lines.shape[1], work.made.shape[1]
    for block in range(len(work.lines)):
        _swap(work.spectrum, block * _HALF, work.lines, block * n_even + first)
    work.spectrum[len(work.lines) * _HALF :] = 0
    transform_columns(work.spectrum, along_y)
    begin, end = factors.first_node[tilt], factors.first_node[tilt + 1]
    for node in range(end - begin):
        _multiply(first, factors.forms[tilt], factors.depths[begin + node], factors, work)
        inverse_columns(work.corrected, along_y)
        for block in range(n_blocks):
            at = (node * n_blocks + block) * n_even + first
            _swap(work.made, at, work.corrected, margin + block * _HALF)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _store(
    node: int, along_x: ColumnTransform, margin: int, taps: Floats, work: _Work, strips: Floats
) -> None:
    """Transform one depth's lines back, and make them the strips ``(strip, 2 n + 2, 32)`` of whole rows."""
    made, n_x = work.made[node], len(along_x.order)
    for block in range(len(made)):
        inverse_columns(made[block, :n_x], along_x)
    for strip in range(len(strips)):
        first, lane = 2 * strip % len(made), 2 * strip // len(made) * _HALF
        for c in range(n_x):
            for i in range(_HALF):
                work.line[c, i] = made[first, c, lane + i]
                work.line[c, _HALF + i] = made[first + 1, c, lane + i]
        refine_columns(work.line, margin, taps, strips[strip])


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _swap(target: Floats, to: int, source: Floats, start: int) -> None:
    """16 columns of 16 complex numbers, rows and columns swapped; counted over all leading axes."""
    for part in (0, _HALF):
        for i in range(0, _HALF, 8):
            for j in range(0, _HALF, 8):
                at = pointer(target, (to + i) * ROWS + part + j)
                transpose_8x8(at, ROWS, pointer(source, (start + j) * ROWS + part + i), ROWS)


@numba.njit(error_model="numpy", nogil=True, cache=True, fastmath={"contract"})
def _multiply(first: int, form: Floats, depth: np.float32, factors: DepthFactorArrays, work: _Work) -> None:
    """``corrected`` from ``spectrum`` for 16 frequencies x and all y."""
    d_xx, d_xy, d_yy, k_xx, k_xy, k_yy, fourth, constant = form
    method, noise = factors.method, factors.noise
    y = work.y
    scale = np.float32(1 / (len(work.line) * len(work.spectrum)))
    one, zero = np.float32(1), np.float32(0)
    for j in range(len(work.spectrum)):
        # The last frequency of an even number of rows stands for both signs, and a real factor is even.
        x = (work.x if y[j] > -0.5 else work.x_unsigned)[first : first + _HALF]
        for i in range(_HALF):
            squared = (k_xx * x[i] + k_xy * y[j]) * x[i] + k_yy * y[j] * y[j]
            defocus = (d_xx * x[i] + d_xy * y[j]) * x[i] + d_yy * y[j] * y[j]
            c = _sine_of_turns(defocus + (fourth * squared - depth) * squared + constant)
            if method == 1:
                c = -one if c < zero else one
            elif method == 2:
                c = c / (c * c + noise)
            c *= scale
            work.corrected[j, i] = c * work.spectrum[j, i]
            work.corrected[j, _HALF + i] = c * work.spectrum[j, _HALF + i]


@numba.njit(inline="always")
def _sine_of_turns(turns: np.float32) -> np.float32:
    """``sin(2 pi turns)`` to 3e-7: a polynomial between -1/2 and 1/2 that has the sine's own zeros there."""
    # Adding and taking away 1.5 * 2^23 rounds to whole numbers.
    at = turns - ((turns + _ROUNDING) - _ROUNDING)
    square = at * at
    series = np.float32(-12.143419) * square + np.float32(38.088654)
    series = series * square - np.float32(67.039945)
    series = series * square + np.float32(64.834553)
    series = series * square - np.float32(25.132730)
    return at * (square - np.float32(0.25)) * series
