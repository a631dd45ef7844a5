"""Rows turned into columns."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.kernels.images.transpose_rows import transpose_rows, transpose_rows_serial


@pytest.mark.parametrize("turn", [transpose_rows, transpose_rows_serial])
@pytest.mark.parametrize(("n_rows", "n_columns"), [(32, 200), (7, 66), (1, 3)])
def test_columns_are_the_rows_with_empty_edges(rng, n_rows, n_columns, turn):
    rows = rng.standard_normal((3, n_rows, n_columns + 10)).astype(np.float32)
    columns = np.full((3, n_columns, 32), np.nan, np.float32)
    turn(rows, 5, columns)
    expected = np.zeros_like(columns)
    expected[:, 1:-1, :n_rows] = rows[:, :, 5 : 5 + n_columns - 2].transpose(0, 2, 1)
    np.testing.assert_array_equal(columns, expected)
