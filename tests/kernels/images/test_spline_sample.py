"""Cubic B-spline sampling."""

from __future__ import annotations

import numpy as np

from cryoloom.kernels.images.spline_sample import sample_spline


def sampled(coefficients, affine, shape, margin=(0.0, 0.0), first_row=0):
    values = np.empty(shape, np.float32)
    sample_spline(coefficients.astype(np.float32), np.asarray(affine, float), first_row, values, margin)
    return values


def test_splines_reproduce_a_plane():
    # Cubic B-splines with the coefficients of a linear function are that function.
    y, x = np.mgrid[:20, :30]
    affine = [[0.3, 0.1, 4.2], [-0.2, 0.5, 6.7]]
    values = sampled(2 * y + 3 * x, affine, (10, 12))
    row, column = np.mgrid[:10, :12]
    expected = 2 * (0.3 * row + 0.1 * column + 4.2) + 3 * (-0.2 * row + 0.5 * column + 6.7)
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_outside_is_nan_and_rows_can_start_anywhere():
    affine = [[1, 0, -2], [0, 1, -3]]
    values = sampled(np.ones((8, 9)), affine, (12, 15), margin=(1.0, 2.0))
    row, column = np.mgrid[:12, :15]
    inside = (row - 2 >= 1) & (row - 2 <= 6) & (column - 3 >= 2) & (column - 3 <= 6)
    np.testing.assert_array_equal(np.isfinite(values), inside)
    np.testing.assert_allclose(values[inside], 1, rtol=1e-6)
    later = sampled(np.ones((8, 9)), affine, (8, 15), margin=(1.0, 2.0), first_row=4)
    np.testing.assert_array_equal(np.isfinite(later), inside[4:])
