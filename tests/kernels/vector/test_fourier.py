"""One level of a transform: each radix against the sum that defines it, both ways, with and without turns."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from cryoloom.kernels.vector.code import pointer
from cryoloom.kernels.vector.fourier import RADICES, transform_groups
from cryoloom.kernels.vector.ir import ROWS

HALF = ROWS // 2
N_GROUPS = 3


@numba.njit
def _transform(columns, radix, inverse, turned, count, leg, step, twiddles):
    transform_groups(radix, inverse, turned, pointer(columns, 0), count, leg, step, pointer(twiddles, 0))


def as_columns(values):
    """Complex (column, 16) as float (column, 32): real parts, then imaginary ones."""
    return np.ascontiguousarray(np.concatenate([values.real, values.imag], axis=1), dtype=np.float32)


def as_complex(columns):
    return columns[:, :HALF] + 1j * columns[:, HALF:]


@pytest.mark.parametrize("radix", RADICES)
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_a_level_is_the_sum_that_defines_it(rng, radix, inverse, turned):
    n = radix * N_GROUPS  # group j has the columns j, j + 3, j + 6, ...
    values = rng.normal(size=(n, HALF)) + 1j * rng.normal(size=(n, HALF))
    turns = np.exp(1j * rng.uniform(0, 2 * np.pi, (N_GROUPS, radix - 1)))
    columns = as_columns(values)
    twiddles = turns.astype(np.complex64).view(np.float32).ravel()
    _transform(columns, radix, inverse, turned, N_GROUPS, N_GROUPS * ROWS, ROWS, twiddles)

    expected = values.reshape(radix, N_GROUPS, HALF).copy()
    factors = np.concatenate([np.ones((N_GROUPS, 1)), turns], axis=1).T[:, :, None]
    if turned and inverse:
        expected *= factors.conj()
    sign = 1j if inverse else -1j
    matrix = np.exp(sign * 2 * np.pi * np.outer(np.arange(radix), np.arange(radix)) / radix)
    expected = np.einsum("pq,qjr->pjr", matrix, expected)
    if turned and not inverse:
        expected *= factors
    # Single precision: 1e-7 of values of a few units, and five of them are added.
    np.testing.assert_allclose(as_complex(columns), expected.reshape(n, HALF), atol=5e-6)


@pytest.mark.parametrize("radix", RADICES)
def test_a_level_and_back_is_radix_times_the_columns(rng, radix):
    values = rng.normal(size=(radix, HALF)) + 1j * rng.normal(size=(radix, HALF))
    columns, none = as_columns(values), np.zeros(2, np.float32)
    _transform(columns, radix, False, False, 1, ROWS, radix * ROWS, none)
    _transform(columns, radix, True, False, 1, ROWS, radix * ROWS, none)
    np.testing.assert_allclose(as_complex(columns), radix * values, atol=1e-5)


def test_columns_between_the_groups_are_left(rng):
    """Groups of two neighbours with a gap of one column: the third of each three is not touched."""
    columns = rng.normal(size=(9, ROWS)).astype(np.float32)
    before = columns.copy()
    _transform(columns, 2, False, False, 3, ROWS, 3 * ROWS, np.zeros(2, np.float32))
    np.testing.assert_array_equal(columns[2::3], before[2::3])
    np.testing.assert_allclose(columns[0::3], before[0::3] + before[1::3], rtol=1e-6)
    np.testing.assert_allclose(columns[1::3], before[0::3] - before[1::3], rtol=1e-6, atol=1e-6)
