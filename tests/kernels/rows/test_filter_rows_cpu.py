"""Rows continued and turned, and columns made twice finer, in vector code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.rows.extend_rows import extend_rows
from cryoloom.kernels.rows.filter_rows_cpu import extend_turned, refine_columns
from makers.rows import seen_in_part


@pytest.mark.parametrize(("n_columns", "n_padded"), [(50, 100), (51, 108), (8, 9), (64, 64)])
def test_rows_are_continued_as_they_are_one_by_one(rng, n_columns, n_padded):
    rows = seen_in_part(rng, (1, 45, n_columns))
    columns = np.full((n_padded, 32), np.nan, np.float32)
    extend_turned(rows[0], 4, 35, columns)
    padded = np.empty((1, 45, n_padded), np.float32)
    extend_rows(torch.from_numpy(rows), torch.from_numpy(padded))
    np.testing.assert_allclose(columns[:, :16], padded[0, 4:20].T, atol=1e-5)
    np.testing.assert_allclose(columns[:, 16:26], padded[0, 35:].T, atol=1e-5)
    np.testing.assert_array_equal(columns[:, 26:], 0)


@pytest.mark.parametrize(("n", "spare"), [(200, 20), (65, 3), (2, 3)])
def test_columns_are_samples_and_sums_of_their_neighbours(rng, n, spare):
    taps = rng.standard_normal(3).astype(np.float32)
    samples = rng.standard_normal((n + 2 * spare, 32)).astype(np.float32)
    columns = np.full((2 * n + 2, 32), np.nan, np.float32)
    refine_columns(samples, spare, taps, columns)
    expected = np.zeros_like(columns)
    at = spare + np.arange(n)
    expected[1:-1:2] = samples[at]
    expected[2:-1:2] = sum(tap * (samples[at - k] + samples[at + 1 + k]) for k, tap in enumerate(taps))
    np.testing.assert_allclose(columns, expected, atol=1e-5)
