"""Cubic B-spline sampling, of both versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.images import spline_sample as door
from cryoloom.kernels.images.spline_sample import sample_spline


@pytest.fixture(params=["numba", "torch"], autouse=True)
def version(request, monkeypatch):
    """Each test runs with the loop in numba and with its twin."""
    if request.param == "torch":
        monkeypatch.setattr(door, "on_cpu", lambda *_: False)


def sampled(coefficients, affine, shape, margin=(0.0, 0.0), first_row=0):
    values, alone = torch.empty(shape), torch.empty(shape)
    knots, matrix = torch.from_numpy(coefficients).float(), torch.tensor(affine, dtype=torch.float64)
    sample_spline(knots, matrix, first_row, values, margin)
    sample_spline(knots, matrix, first_row, alone, margin, serial=True)
    np.testing.assert_array_equal(values, alone)
    return values.numpy()


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


def test_an_affine_in_single_precision_is_refused():
    with pytest.raises(ValueError, match=r"of float64, got .2, 3. of torch.float32"):
        sample_spline(torch.ones((4, 4)), torch.eye(3)[:2], 0, torch.empty((4, 4)), (0.0, 0.0))
