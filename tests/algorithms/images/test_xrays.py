"""X-rays are found and filled; beads and noise are left alone."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.images.xrays import XrayCriteria, fill_from_surroundings, find_xrays

SHAPE = (300, 331)


def exposure(rng, counts=22.0):
    """Ice with a gradient and gold beads, dark with a bright fringe: Poisson counts, and where beads are."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    ice = counts * (1 + 0.3 * x / SHAPE[1])
    beads = np.zeros(SHAPE, bool)
    for cy, cx in ((60, 60), (150, 200), (250, 100), (2, 300)):
        distance = np.hypot(y - cy, x - cx)
        beads |= distance < 20
        ice = ice * (
            1 - 0.85 / (1 + np.exp((distance - 18) / 0.7)) + 0.15 * np.exp(-(((distance - 22) / 1.5) ** 2))
        )
    return rng.poisson(ice).astype(np.float32), beads


def hits(image, rng, n=30):
    """Add X-rays of one to nine pixels; gives the brightest pixel of each."""
    centres = np.stack([rng.integers(5, size - 5, n) for size in SHAPE], axis=1)
    for i, (y, x) in enumerate(centres):
        image[y, x] += 400
        if i % 3:
            image[y : y + 2, x + 1] += 150
        if i % 3 == 2:
            image[y - 1 : y + 2, x - 1 : x + 2] += 100
    return centres


@pytest.mark.parametrize("counts", [3.0, 22.0, 350.0])
def test_beads_and_noise_are_left_alone(rng, counts):
    image, _ = exposure(rng, counts)
    assert find_xrays(image, XrayCriteria()).sum() <= 1  # Poisson's tail at 3 counts reaches 10 sigma seldom


def test_every_xray_is_found_whole_and_little_else(rng):
    clean, _ = exposure(rng)
    image = clean.copy()
    centres = hits(image, rng)
    found = find_xrays(image, XrayCriteria())
    assert found[centres[:, 0], centres[:, 1]].all()
    touched = image != clean
    assert found[touched & (image > clean + 90)].mean() > 0.95
    assert (found & ~touched).sum() <= 5


def test_an_xray_on_a_bead_is_found(rng):
    image, _ = exposure(rng)
    image[150, 200] += 300
    found = find_xrays(image, XrayCriteria())
    assert found[150, 200]
    assert found.sum() == 1


def test_a_giant_xray_is_found(rng):
    image, _ = exposure(rng)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    spot = np.hypot(y - 100, x - 150) < 5.5
    image[spot] += 500
    found = find_xrays(image, XrayCriteria())
    assert found[spot].mean() > 0.95
    assert (found & ~spot).sum() <= 3


def test_filled_pixels_look_like_their_surroundings(rng):
    image = rng.poisson(50.0, (200, 200)).astype(np.float32)
    hit = np.zeros(image.shape, bool)
    hit[rng.integers(0, 200, 2000), rng.integers(0, 200, 2000)] = True
    image[hit] = 1e4
    target, source = fill_from_surroundings(hit, rng)
    assert set(target) == set(np.flatnonzero(hit))
    image.ravel()[target] = image.ravel()[source]
    # 1900 draws: the mean is known to 0.2, the spread to 2 %.
    assert_allclose(image[hit].mean(), 50.0, atol=0.8)
    assert_allclose(image[hit].std(), np.sqrt(50.0), rtol=0.08)


def test_a_constant_image_has_no_xrays():
    assert not find_xrays(np.ones(SHAPE, np.float32), XrayCriteria()).any()
