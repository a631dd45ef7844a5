"""Rows continued beyond the image."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from cryoloom.kernels.rows.extend_rows import extend_rows
from cryoloom.kernels.rows.extend_rows_torch import extend_rows_torch

WAYS = [extend_rows, functools.partial(extend_rows, serial=True), extend_rows_torch]


@pytest.mark.parametrize("extend", WAYS)
def test_rows_continue_smoothly(extend):
    rows = torch.full((3, 40), torch.nan)
    rows[0, 10:30] = 2.0
    rows[1] = 1.0
    padded = torch.empty((1, 3, 80))
    extend(rows[None], padded)
    padded = padded[0]
    np.testing.assert_allclose(padded[0, 30:50], 2)
    assert float(padded[0].diff().abs().max()) < 0.2
    np.testing.assert_allclose(padded[1, 20:60], 1)
    assert float(padded[1, 0]) < 0.1
    assert float(padded[1, -1]) < 0.1
    np.testing.assert_allclose(padded[2], 0)


@pytest.mark.parametrize(("n_columns", "n_padded"), [(90, 180), (33, 33), (64, 71)])
def test_all_ways_agree(rng, n_columns, n_padded):
    rows = torch.from_numpy(rng.standard_normal((4, 9, n_columns)).astype(np.float32))
    for i in range(9):
        rows[1, i, : 3 * i] = torch.nan
        rows[2, i, n_columns - 2 * i :] = torch.nan
    rows[3, 4] = torch.nan
    results = []
    for extend in WAYS:
        padded = torch.full((4, 9, n_padded), torch.nan)
        extend(rows, padded)
        results.append(padded)
    torch.testing.assert_close(results[1], results[0], atol=0, rtol=0)
    torch.testing.assert_close(results[2], results[0], atol=1e-5, rtol=1e-5)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        extend_rows(torch.zeros((1, 2, 10)), torch.zeros((1, 2, 8)))
