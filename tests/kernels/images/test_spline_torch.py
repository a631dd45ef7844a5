"""Cubic B-splines in torch."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from cryoloom.kernels.images.spline_torch import cubic_spline_values


def test_values_are_those_of_scipys_periodic_spline(rng):
    coefficients = rng.normal(size=(17, 22)).astype(np.float32)
    at = rng.uniform(-3, 25, (2, 300))
    expected = map_coordinates(coefficients, at, order=3, mode="grid-wrap", prefilter=False)
    values = cubic_spline_values(torch.from_numpy(coefficients), *torch.from_numpy(at))
    np.testing.assert_allclose(values, expected, atol=1e-5)


def test_weights_sum_to_one():
    y = torch.linspace(0, 7.99, 50)
    values = cubic_spline_values(torch.full((8, 9), 2.5), y, y)
    np.testing.assert_allclose(values, 2.5, rtol=1e-6)
