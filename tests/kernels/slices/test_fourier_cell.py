"""The cell of a Fourier cube in which a point lies."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.kernels.slices.fourier_cell import cell_of


@numba.njit
def _in_a_loop(x, y, z, middle):
    return cell_of(np.float32(x), np.float32(y), np.float32(z), np.float32(middle))


@pytest.mark.parametrize("find", [cell_of.py_func, _in_a_loop], ids=["python", "inlined"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_first_sample_and_rest_make_the_point_or_its_opposite(find, sign):
    point = np.array([2.25, -3.5, 1.75], np.float32)
    *cell, found_sign = find(*(np.float32(sign) * point), np.float32(8))
    first, rest = np.array(cell[:3], float), np.array(cell[3:], float)
    assert found_sign == sign
    assert_allclose(first + rest, point + np.array([0, 8, 8]))
    assert ((rest >= 0) & (rest < 1)).all()
    assert first.tolist() == [2, 4, 9]
