"""Levels of patches and the pixels above them, of both versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.movies import bright_pixels as door
from cryoloom.kernels.movies.bright_pixels import patch_levels, pixels_above

EDGES_Y, EDGES_X = torch.tensor([0, 30, 63]), torch.tensor([0, 41, 80, 121])


@pytest.fixture(params=["numba", "torch"], autouse=True)
def version(request, monkeypatch):
    """Each test runs with the loop in numba and with its twin."""
    if request.param == "torch":
        monkeypatch.setattr(door, "on_cpu", lambda *_: False)
    return request.param


@pytest.fixture
def image(rng):
    return torch.from_numpy(rng.normal(5.0, 2.0, (63, 121)).astype(np.float32))


def test_levels_are_percentiles_of_every_second_pixel(image):
    level, sigma = torch.empty((2, 2, 3))
    patch_levels(image, EDGES_Y, EDGES_X, level, sigma)
    low, middle = np.percentile(image[30:63:2, 41:80:2], (15.866, 50.0))
    np.testing.assert_allclose([level[1, 1], sigma[1, 1]], [middle, middle - low], rtol=1e-5)


def test_bright_pixels_are_listed_row_by_row(image):
    threshold = torch.tensor([[8.0, 9.0, 7.0], [10.0, 8.0, 9.0]])
    found = torch.empty((4000, 2), dtype=torch.int64)
    n = pixels_above(image, EDGES_Y, EDGES_X, threshold, found)
    limits = np.repeat(np.repeat(threshold.numpy(), [30, 33], axis=0), [41, 39, 41], axis=1)
    np.testing.assert_array_equal(found[:n], np.argwhere(image.numpy() > limits))
    assert n > 100


def test_counting_ends_when_the_list_is_full(image):
    found = torch.empty((7, 2), dtype=torch.int64)
    assert pixels_above(image, EDGES_Y, EDGES_X, torch.zeros((2, 3)), found) == 7


def test_patches_must_be_those_of_the_edges(image):
    with pytest.raises(ValueError, match=r"3 x 4 do not fit .2, 2. patches"):
        patch_levels(image, EDGES_Y, EDGES_X, torch.empty((2, 2)), torch.empty((2, 2)))
    with pytest.raises(ValueError, match=r"3 x 4 do not fit .2, 2. patches"):
        pixels_above(image, EDGES_Y, EDGES_X, torch.empty((2, 2)), torch.empty((7, 2), dtype=torch.int64))
