from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.kernels.images.row_moments import row_moments


@pytest.mark.parametrize("shape", [(1, 1), (5, 33), (3, 5760)])
def test_moments_of_rows(shape, rng):
    rows = rng.normal(1000, 1, shape).astype(np.float32)  # the variance is a millionth of the mean square
    found = np.empty((2, shape[0]), np.float32)
    row_moments(rows, found)
    assert_allclose(found[0], rows.mean(axis=1, dtype=np.float64), rtol=1e-7)
    assert_allclose(found[1], rows.var(axis=1, dtype=np.float64), rtol=1e-5, atol=1e-7)


def test_a_value_that_is_no_number_spoils_its_row_alone(rng):
    rows = rng.normal(size=(3, 40)).astype(np.float32)
    rows[1, 7] = np.nan
    found = np.empty((2, 3), np.float32)
    row_moments(rows, found)
    assert np.isnan(found[:, 1]).all()
    assert np.isfinite(found[:, [0, 2]]).all()
