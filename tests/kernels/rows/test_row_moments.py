"""Mean and variance of rows, of both versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.kernels.rows import row_moments as door
from cryoloom.kernels.rows.row_moments import row_moments


@pytest.fixture(params=["numba", "torch"], autouse=True)
def version(request, monkeypatch):
    """Each test runs with the loop in numba and with its twin."""
    if request.param == "torch":
        monkeypatch.setattr(door, "on_cpu", lambda *_: False)


@pytest.mark.parametrize("shape", [(1, 1), (5, 33), (3, 5760)])
def test_moments_of_rows(shape, rng):
    rows = rng.normal(1000, 1, shape).astype(np.float32)  # the variance is a millionth of the mean square
    found = np.empty((2, shape[0]), np.float32)
    row_moments(torch.from_numpy(rows), torch.from_numpy(found))
    assert_allclose(found[0], rows.mean(axis=1, dtype=np.float64), rtol=1e-7)
    assert_allclose(found[1], rows.var(axis=1, dtype=np.float64), rtol=1e-5, atol=1e-7)


def test_a_value_that_is_no_number_spoils_its_row_alone(rng):
    rows = rng.normal(size=(3, 40)).astype(np.float32)
    rows[1, 7] = np.nan
    found = np.empty((2, 3), np.float32)
    row_moments(torch.from_numpy(rows), torch.from_numpy(found))
    assert np.isnan(found[:, 1]).all()
    assert np.isfinite(found[:, [0, 2]]).all()


def test_moments_need_room_for_every_row():
    with pytest.raises(ValueError, match=r"moments .2, 3., got torch.float32, torch.float32 and .2, 4."):
        row_moments(torch.zeros((3, 5)), torch.zeros((2, 4)))
