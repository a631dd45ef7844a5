import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cryoloom.kernels.movies.bright_pixels import patch_levels, pixels_above

EDGES_Y, EDGES_X = np.array([0, 30, 63]), np.array([0, 41, 80, 121])


@pytest.fixture
def image(rng):
    return rng.normal(5.0, 2.0, (63, 121)).astype(np.float32)


def test_levels_are_percentiles_of_every_second_pixel(image):
    level, sigma = np.empty((2, 2, 3), np.float32)
    patch_levels(image, EDGES_Y, EDGES_X, level, sigma)
    low, middle = np.percentile(image[30:63:2, 41:80:2], (15.866, 50.0))
    assert_allclose([level[1, 1], sigma[1, 1]], [middle, middle - low], rtol=1e-5)


def test_bright_pixels_are_listed_row_by_row(image):
    threshold = np.array([[8.0, 9.0, 7.0], [10.0, 8.0, 9.0]], np.float32)
    found = np.empty((4000, 2), np.int64)
    n = pixels_above(image, EDGES_Y, EDGES_X, threshold, found)
    limits = np.repeat(np.repeat(threshold, np.diff(EDGES_Y), axis=0), np.diff(EDGES_X), axis=1)
    assert_array_equal(found[:n], np.argwhere(image > limits))
    assert n > 100


def test_counting_ends_when_the_list_is_full(image):
    found = np.empty((7, 2), np.int64)
    assert pixels_above(image, EDGES_Y, EDGES_X, np.zeros((2, 3), np.float32), found) == 7
