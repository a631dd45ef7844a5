"""Gold is found in single images and hidden; images without it stay as they are."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cryoloom.algorithms.series.gold_shadows import find_gold

PIXEL = 3.0
SHAPE = (403, 510)


def image_with(rng, places, *, darkness=0.3, counts=27.0):
    """Counts with the shadows of spheres of 100 angstrom, and of weaker and smaller things."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    transmitted = np.ones(SHAPE)
    for row, column in places:
        r = np.hypot(y - row, x - column) * PIXEL / 50.0
        transmitted -= darkness * np.sqrt(np.clip(1 - r**2, 0, None))
    for row, column in rng.uniform(0, 400, (40, 2)):
        r = np.hypot(y - row, x - column) * PIXEL / 90.0
        transmitted -= 0.02 * np.sqrt(np.clip(1 - r**2, 0, None))
    return rng.poisson(counts * transmitted).astype(np.float32)


def scattered(rng, n=8):
    """Places at least 60 pixels apart and away from the edges."""
    grid = np.stack(np.meshgrid(np.arange(60, 350, 80.0), np.arange(60, 460, 80.0), indexing="ij"), -1)
    return rng.permutation(grid.reshape(-1, 2))[:n] + rng.uniform(-8, 8, (n, 2))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_beads_are_found_and_hidden(seed):
    rng = np.random.default_rng(seed)
    places = scattered(rng)
    images = [image_with(rng, places) for _ in range(3)]
    gold = find_gold(images, PIXEL)
    assert 60 < gold.diameter_angstrom < 130
    found = gold.places(images[0])
    distance, _ = cKDTree(places).query(found)
    assert len(found) == len(places)
    assert distance.max() * PIXEL < 10.0  # a pixel of the working image
    hidden, n = gold.hidden(images[0])
    assert n == len(places)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for row, column in places:
        inside = np.hypot(y - row, x - column) * PIXEL < 45
        assert hidden[inside].mean() == pytest.approx(27.0, rel=0.05)
    far = np.min([np.hypot(y - row, x - column) for row, column in places], axis=0) * PIXEL > 160
    np.testing.assert_array_equal(hidden[far], images[0][far])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_weak_bodies_are_not_gold(seed):
    rng = np.random.default_rng(seed)
    assert find_gold([image_with(rng, []) for _ in range(3)], PIXEL) is None


def test_two_dark_spots_are_not_gold(rng):
    places = scattered(rng, 2)
    assert find_gold([image_with(rng, places) for _ in range(3)], PIXEL) is None
    assert find_gold([], PIXEL) is None


def test_an_image_that_has_lost_its_beads_stays_as_it_is(rng):
    gold = find_gold([image_with(rng, scattered(rng)) for _ in range(3)], PIXEL)
    bare = image_with(rng, [])
    hidden, n = gold.hidden(bare)
    assert n == 0
    np.testing.assert_array_equal(hidden, bare)
