"""Fourier transforms along columns of 32 rows, in place and without putting frequencies in order.

The columns are ``(sample, 32)`` float32: rows 0 to 15 are the real and rows 16 to 31 the imaginary parts of
16 complex rows. Multiplied by a real and even filter, two real rows so packed stay apart. Forwards by
decimation in frequency (Gentleman & Sande 1966), backwards by decimation in time (Cooley & Tukey 1965): what
one leaves in reversed order of digits the other takes up, so no order is ever made. The first levels run over
all columns, until the parts that are left fit into the first-level cache; each part is then done to its end.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from cryoloom.kernels.vector.code import pointer
from cryoloom.kernels.vector.fourier import RADICES, transform_groups
from cryoloom.kernels.vector.ir import ROWS

__all__ = [
    "ColumnTransform",
    "filter_columns",
    "in_transform_order",
    "inverse_columns",
    "plan_transform",
    "transform_columns",
]

Floats = NDArray[np.float32]

_LARGEST_PART = 256
"""Columns of a part: 32 kB."""


class ColumnTransform(NamedTuple):
    """Plan of the transform of columns of one length. Make it with `plan_transform`."""

    levels: NDArray[np.int64]
    """(level, 3): its radix, how many groups a part has, and its first number in ``twiddles``."""
    n_outer: int
    """Levels that run over all columns."""
    twiddles: Floats
    """Real and imaginary parts of what columns are turned by."""
    order: NDArray[np.int64]
    """(sample,), the frequency that is found at each place, 0 to n - 1."""


@lru_cache(maxsize=32)
def plan_transform(n: int) -> ColumnTransform:
    """Levels for columns of ``n`` samples. n has no factors but 2, 3 and 5."""
    radices, rest = [], n
    for radix in RADICES:
        while rest > 1 and rest % radix == 0:
            radices.append(radix)
            rest //= radix
    if rest != 1 or n < 2:
        raise ValueError(f"expected a length with the factors 2, 3 and 5 only, got {n}")
    levels, twiddles, size, n_numbers = [], [], n, 0
    for radix in radices:
        n_groups = size // radix
        angle = -2j * np.pi * np.arange(n_groups)[:, None] * np.arange(1, radix) / size
        levels.append((radix, n_groups, n_numbers))
        twiddles.append(np.exp(angle).ravel().view(np.float64))
        n_numbers += len(twiddles[-1])
        size = n_groups
    order = np.zeros(1, np.int64)
    for radix in reversed(radices):
        order = (np.arange(radix)[:, None] + radix * order).ravel()
    n_outer = sum(radix * n_groups > _LARGEST_PART for radix, n_groups, _ in levels)
    return ColumnTransform(
        np.array(levels, np.int64),
        min(n_outer, len(levels) - 1),
        np.concatenate(twiddles).astype(np.float32),
        order,
    )


def in_transform_order(factors: Floats, transform: ColumnTransform) -> Floats:
    """Factors of an rfft ``(..., n // 2 + 1)`` for every place of a transform of n: ``(..., n)``."""
    order = transform.order
    return np.ascontiguousarray(factors[..., np.minimum(order, len(order) - order)])


@numba.njit(error_model="numpy", nogil=True, cache=True)
def filter_columns(columns: Floats, factors: Floats, transform: ColumnTransform) -> None:
    """Multiply the spectra of 32 real rows by real factors and transform them back.

    columns : (n, 32), contiguous, overwritten. factors : (n,), in the order of the transform, over n, even in
    frequency.
    """
    n, part = len(columns), _part(transform)
    n_levels, n_outer = len(transform.levels), transform.n_outer
    _forwards(columns, 0, n, range(n_outer), transform)
    for start in range(0, n, part):
        _forwards(columns, start, start + part, range(n_outer, n_levels), transform)
        for i in range(start, start + part):
            for row in range(ROWS):
                columns[i, row] *= factors[i]
        _backwards(columns, start, start + part, range(n_outer, n_levels), transform)
    _backwards(columns, 0, n, range(n_outer), transform)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def transform_columns(columns: Floats, transform: ColumnTransform) -> None:
    """Columns ``(n, 32)`` become their spectra, in the order of the transform."""
    n, part = len(columns), _part(transform)
    _forwards(columns, 0, n, range(transform.n_outer), transform)
    for start in range(0, n, part):
        _forwards(columns, start, start + part, range(transform.n_outer, len(transform.levels)), transform)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def inverse_columns(columns: Floats, transform: ColumnTransform) -> None:
    """Spectra ``(n, 32)`` in the order of the transform become n times their columns."""
    n, part = len(columns), _part(transform)
    for start in range(0, n, part):
        _backwards(columns, start, start + part, range(transform.n_outer, len(transform.levels)), transform)
    _backwards(columns, 0, n, range(transform.n_outer), transform)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _part(transform: ColumnTransform) -> int:
    """Columns that are left together by the levels that run over all."""
    radix, n_groups, _ = transform.levels[transform.n_outer]
    return radix * n_groups


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _forwards(columns: Floats, start: int, stop: int, levels: range, transform: ColumnTransform) -> None:
    for level in levels:
        _level(columns, start, stop, level, transform, False)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _backwards(columns: Floats, start: int, stop: int, levels: range, transform: ColumnTransform) -> None:
    for level in range(levels.stop - 1, levels.start - 1, -1):
        _level(columns, start, stop, level, transform, True)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _level(
    columns: Floats, start: int, stop: int, level: int, transform: ColumnTransform, inverse: bool
) -> None:
    """One level of the parts between two columns."""
    radix, n_groups, first = transform.levels[level]
    leg, twiddles = n_groups * ROWS, pointer(transform.twiddles, first)
    if n_groups == 1:
        # Neighbours, which nothing turns.
        n = (stop - start) // radix
        at = pointer(columns, start * ROWS)
        transform_groups(radix, inverse, False, at, n, leg, radix * ROWS, twiddles)
        return
    for part in range(start, stop, radix * n_groups):
        at = pointer(columns, part * ROWS)
        transform_groups(radix, inverse, True, at, n_groups, leg, ROWS, twiddles)
