"""Clamped B-splines: they share out one, and hold every polynomial of their degree."""

import numpy as np
import pytest

from cryoloom.geometry.spline_basis import clamped_spline_basis


@pytest.mark.parametrize("n_control", [1, 2, 3, 4, 7])
def test_basis(n_control, rng):
    position = np.concatenate([[0.0, 1.0], rng.random(50)])
    basis = clamped_spline_basis(position, n_control)
    assert basis.shape == (52, n_control)
    np.testing.assert_allclose(basis.sum(axis=1), 1.0)
    # At its ends a field is its outermost control.
    np.testing.assert_allclose(basis[:2], np.eye(n_control)[[0, -1]], atol=1e-12)
    for power in range(min(3, n_control - 1) + 1):
        curve = position**power
        fitted = basis @ np.linalg.lstsq(basis, curve, rcond=None)[0]
        np.testing.assert_allclose(fitted, curve, atol=1e-10)
    np.testing.assert_array_equal(clamped_spline_basis(np.array([-3.0, 5.0]), n_control), basis[:2])
