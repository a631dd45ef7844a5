import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.ndimage import map_coordinates, spline_filter

from cryoloom.kernels.images.sample_displaced import sample_displaced


@pytest.mark.parametrize("shape", [(40, 50), (41, 37)])
def test_values_are_those_of_scipys_spline(rng, shape):
    image = rng.normal(size=shape).astype(np.float32)
    coefficients = spline_filter(image, order=3, output=np.float32, mode="grid-wrap")
    basis_y = rng.normal(size=(24, 3)).astype(np.float32)
    basis_x = rng.normal(size=(20, 2)).astype(np.float32)
    control = rng.normal(0, 1.0, (3, 2, 2)).astype(np.float32)
    sampled = np.empty((24, 20), np.float32)
    sample_displaced(coefficients, (8, 9), basis_y, basis_x, control, sampled)
    moved = np.einsum("ya,xb,abc->cyx", basis_y, basis_x, control)
    at = np.mgrid[8:32, 9:29] + moved
    for axis, n in enumerate(shape):
        at[axis] = np.clip(at[axis], 0, n - 1)
    expected = map_coordinates(coefficients, at, order=3, mode="grid-wrap", prefilter=False)
    assert_allclose(sampled, expected, atol=1e-4)


def test_no_displacement_gives_the_image(rng):
    image = rng.normal(size=(30, 31)).astype(np.float32)
    coefficients = spline_filter(image, order=3, output=np.float32, mode="grid-wrap")
    sampled = np.empty((30, 31), np.float32)
    still = np.zeros((1, 1, 2), np.float32)
    sample_displaced(
        coefficients, (0, 0), np.ones((30, 1), np.float32), np.ones((31, 1), np.float32), still, sampled
    )
    assert_allclose(sampled, image, atol=1e-5)
