"""Rows turned into columns."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from cryoloom.kernels.rows.transpose_rows import transpose_rows


@pytest.mark.parametrize("turn", [transpose_rows, functools.partial(transpose_rows, serial=True)])
@pytest.mark.parametrize(("n_rows", "n_columns"), [(32, 200), (7, 66), (1, 3)])
def test_columns_are_the_rows_with_empty_edges(rng, n_rows, n_columns, turn, device):
    rows = rng.standard_normal((3, n_rows, n_columns + 10)).astype(np.float32)
    columns = torch.full((3, n_columns, 32), torch.nan, device=device)
    turn(torch.from_numpy(rows).to(device), 5, columns)
    expected = np.zeros((3, n_columns, 32), np.float32)
    expected[:, 1:-1, :n_rows] = rows[:, :, 5 : 5 + n_columns - 2].transpose(0, 2, 1)
    np.testing.assert_array_equal(columns.cpu(), expected)


def test_rows_that_are_too_short_are_refused():
    with pytest.raises(ValueError, match="do not hold"):
        transpose_rows(torch.zeros((1, 4, 10)), 5, torch.zeros((1, 10, 32)))
