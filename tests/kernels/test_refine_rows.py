"""Rows made twice finer and turned."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.kernels.refine_rows import refine_rows_alone


@pytest.mark.parametrize(
    ("n_rows", "n_columns", "spare"), [(32, 200, 20), (32, 64, 3), (7, 66, 9), (1, 3, 3)]
)
def test_columns_are_samples_and_sums_of_their_neighbours(rng, n_rows, n_columns, spare):
    taps = rng.standard_normal(3).astype(np.float32)
    rows = rng.standard_normal((2, n_rows, n_columns + 2 * spare)).astype(np.float32)
    columns = np.full((2, 2 * n_columns + 2, 32), np.nan, np.float32)
    refine_rows_alone(rows, spare, taps, columns)
    expected = np.zeros_like(columns)
    at = spare + np.arange(n_columns)
    expected[:, 1:-1:2, :n_rows] = rows[:, :, at].transpose(0, 2, 1)
    between = sum(tap * (rows[:, :, at - k] + rows[:, :, at + 1 + k]) for k, tap in enumerate(taps))
    expected[:, 2:-1:2, :n_rows] = between.transpose(0, 2, 1)
    np.testing.assert_allclose(columns, expected, atol=1e-5)
