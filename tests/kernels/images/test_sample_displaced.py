"""Images sampled at displaced positions, of both versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates, spline_filter

from cryoloom.kernels.images import sample_displaced as door
from cryoloom.kernels.images.sample_displaced import sample_displaced


@pytest.fixture(params=["numba", "torch"], autouse=True)
def version(request, monkeypatch):
    """Each test runs with the loop in numba and with its twin."""
    if request.param == "torch":
        monkeypatch.setattr(door, "on_cpu", lambda *_: False)
    return request.param


@pytest.mark.parametrize("shape", [(40, 50), (41, 37)])
def test_values_are_those_of_scipys_spline(rng, shape):
    image = rng.normal(size=shape).astype(np.float32)
    coefficients = spline_filter(image, order=3, output=np.float32, mode="grid-wrap")
    basis_y = rng.normal(size=(24, 3)).astype(np.float32)
    basis_x = rng.normal(size=(20, 2)).astype(np.float32)
    control = rng.normal(0, 1.0, (3, 2, 2)).astype(np.float32)
    sampled = torch.empty((24, 20))
    along_y, along_x, controls = (torch.from_numpy(a) for a in (basis_y, basis_x, control))
    sample_displaced(torch.from_numpy(coefficients), (8, 9), along_y, along_x, controls, sampled)
    moved = np.einsum("ya,xb,abc->cyx", basis_y, basis_x, control)
    at = np.mgrid[8:32, 9:29] + moved
    for axis, n in enumerate(shape):
        at[axis] = np.clip(at[axis], 0, n - 1)
    expected = map_coordinates(coefficients, at, order=3, mode="grid-wrap", prefilter=False)
    np.testing.assert_allclose(sampled, expected, atol=1e-4)


def test_no_displacement_gives_the_image(rng):
    image = rng.normal(size=(30, 31)).astype(np.float32)
    coefficients = torch.from_numpy(spline_filter(image, order=3, output=np.float32, mode="grid-wrap"))
    sampled, still = torch.empty((30, 31)), torch.zeros((1, 1, 2))
    sample_displaced(coefficients, (0, 0), torch.ones((30, 1)), torch.ones((31, 1)), still, sampled)
    np.testing.assert_allclose(sampled, image, atol=1e-5)


def test_controls_must_fit_their_bases():
    with pytest.raises(ValueError, match="do not fit samples"):
        sample_displaced(
            torch.zeros((9, 9)), (0, 0), torch.ones((4, 2)), torch.ones((5, 2)), torch.zeros((2, 3, 2)),
            torch.empty((4, 5)),
        )  # fmt: skip
