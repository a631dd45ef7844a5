"""Local displacements: fitted, inverted, and undone in images of blobs."""

import numpy as np
import pytest
import torch

from cryoloom.algorithms.images.undistorted_images import undistorted
from cryoloom.model import ImageWarp

PIXEL = 4.0


def smooth_warp(rng, shape, size_angstrom=12.0, n_controls=4):
    extent = (shape[1] * PIXEL, shape[0] * PIXEL)
    return ImageWarp.of_controls(rng.normal(0, size_angstrom, (n_controls, n_controls, 2)), extent)


def blobs(places_angstrom, shape, sigma_px=3.0):
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape, np.float32)
    for at_x, at_y in places_angstrom / PIXEL + [shape[1] // 2, shape[0] // 2]:
        image += np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * sigma_px**2)).astype(np.float32)
    return image


@pytest.mark.parametrize("shape", [(120, 150), (121, 151)])
def test_displaced_blobs_come_back(rng, shape):
    warp = smooth_warp(rng, shape)
    grid = np.linspace(-0.35, 0.35, 4)
    places = np.stack(np.meshgrid(grid * shape[1], grid * shape[0]), -1).reshape(-1, 2) * PIXEL
    seen = blobs(places + warp.displacement(places), shape)
    straight = undistorted(torch.from_numpy(seen), warp, PIXEL).numpy()
    wanted = blobs(places, shape)
    before, after = np.abs(seen - wanted).max(), np.abs(straight - wanted).max()
    assert before > 0.3
    # What is left is the blobs' own change of shape: gradients of the displacement are a few percent.
    assert after < 0.1
    assert undistorted(torch.from_numpy(seen), None, PIXEL).numpy() is not straight


def test_images_of_another_binning_are_displaced_by_the_same_angstroms(rng):
    warp = ImageWarp.of_controls(np.full((2, 2, 2), [8.0, -4.0]), (480.0, 600.0))
    for pixel in (4.0, 2.0):
        image = torch.from_numpy(rng.normal(size=(150, 120)).astype(np.float32))
        straight = undistorted(image, warp, pixel)
        moved = torch.roll(image, (round(4.0 / pixel), -round(8.0 / pixel)), (0, 1))
        assert torch.allclose(straight[10:-10, 10:-10], moved[10:-10, 10:-10], atol=1e-4)


def test_a_fit_holds_what_it_can(rng):
    extent = (600.0, 480.0)
    places = rng.uniform(-0.5, 0.5, (300, 2)) * extent
    x, y = places.T / 300.0
    moved = np.column_stack([3 + x - 2 * x * y, 5 * y**2 - x**3])
    warp = ImageWarp.fitted(places, moved, extent, 4)
    np.testing.assert_allclose(warp.displacement(places), moved, atol=0.02)  # kept to 0.01 A
    np.testing.assert_allclose(warp.undisplaced(places + warp.displacement(places)), places, atol=0.01)
    outside = np.array([[900.0, 100.0]])
    np.testing.assert_allclose(warp.displacement(outside), warp.displacement([[300.0, 100.0]]))
