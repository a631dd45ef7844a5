"""A wave in depth from its values at a few depths."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.algorithms.reconstruction.depth_basis import linear_basis, polynomial_basis


@pytest.mark.parametrize("make", [linear_basis, polynomial_basis])
@pytest.mark.parametrize("rate", [1e-6, 1e-4, 5e-4, 3e-3])
@pytest.mark.parametrize("error", [0.02, 0.002])
def test_waves_are_missed_by_no_more_than_asked(make, rate, error):
    low, high = -2500.0, 1500.0
    basis = make(low, high, rate, error)
    depth = np.linspace(low, high, 1001)
    for phase in (0.0, 0.7, 1.6):
        for slower in (1.0, 0.6):
            at_nodes = np.sin(phase + slower * rate * basis.depths)
            found = (basis.weights(depth) * at_nodes[:, None]).sum(axis=0)
            assert np.abs(found - np.sin(phase + slower * rate * depth)).max() <= 1.0001 * error
    np.testing.assert_allclose(basis.weights(depth).sum(axis=0), 1)


def test_polynomials_need_fewer_nodes():
    # 12 rad over the range: about 8 nodes instead of 31.
    assert len(polynomial_basis(-2000, 2000, 3e-3, 0.02).depths) < 15
    assert len(linear_basis(-2000, 2000, 3e-3, 0.02).depths) > 28


def test_beyond_the_range_the_ends_hold():
    for basis in (polynomial_basis(-100, 100, 0.01, 0.02), linear_basis(-100, 100, 0.01, 0.02)):
        np.testing.assert_array_equal(basis.weights([150.0, -1e9]), basis.weights([100.0, -100.0]))
