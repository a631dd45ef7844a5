"""Fourier transforms of 16 complex rows side by side, against NumPy's in double precision."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.kernels.vector.column_transform import (
    filter_columns,
    inverse_columns,
    plan_transform,
    transform_columns,
)

LENGTHS = [2, 3, 5, 6, 40, 256, 320, 1350, 2048]


def complex_rows(columns):
    return columns[:, :16] + 1j * columns[:, 16:]


@pytest.mark.parametrize("n", LENGTHS)
def test_spectra_are_those_of_the_rows_and_lead_back(rng, n):
    columns = rng.standard_normal((n, 32)).astype(np.float32)
    transform = plan_transform(n)
    spectra = columns.copy()
    transform_columns(spectra, transform)
    expected = np.fft.fft(complex_rows(columns.astype(np.float64)), axis=0)[transform.order]
    np.testing.assert_allclose(complex_rows(spectra), expected, atol=2e-6 * np.sqrt(n) * np.log2(2 * n))
    inverse_columns(spectra, transform)
    np.testing.assert_allclose(spectra / n, columns, atol=3e-6)


@pytest.mark.parametrize("n", LENGTHS)
def test_rows_are_filtered_apart(rng, n):
    columns = rng.standard_normal((n, 32)).astype(np.float32)
    response = rng.random(n // 2 + 1)
    transform = plan_transform(n)
    factors = response[np.minimum(transform.order, n - transform.order)] / n
    expected = np.fft.irfft(np.fft.rfft(columns, axis=0) * response[:, None], n=n, axis=0)
    filter_columns(columns, factors.astype(np.float32), transform)
    np.testing.assert_allclose(columns, expected, atol=3e-6)


@pytest.mark.parametrize("n", [1, 14, 0])
def test_other_lengths_are_refused(n):
    with pytest.raises(ValueError, match=f"factors 2, 3 and 5 only, got {n}"):
        plan_transform(n)
