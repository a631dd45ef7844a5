"""Matched-filter maps of beads: their height, their maxima between pixels, and the diameter that fits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.series.bead_maps import bead_candidates, bead_maps, measure_bead_diameter
from cryoloom.algorithms.series.tilt_images import TiltImages

PIXEL = 10.0


def images_with_beads(rng, places_xy, diameter, shape=(150, 181), depth=12.0):
    """One image of unit noise with dark spheres at places in angstrom from the centre."""
    y, x = (np.mgrid[: shape[0], : shape[1]] - np.array(shape)[:, None, None] // 2) * PIXEL
    image = rng.normal(size=shape)
    for at_x, at_y in places_xy:
        r = np.hypot(x - at_x, y - at_y) / (diameter / 2)
        image -= depth * np.sqrt(np.clip(1 - r**2, 0, None))
    return TiltImages(torch.from_numpy(image[None]).float(), PIXEL, np.ones(1), np.ones(1))


def test_maxima_are_where_beads_are_to_a_fifth_of_a_pixel(rng):
    places = np.array([[100.0, -204.0], [-333.0, 251.0], [502.0, 48.0]])
    maps = bead_maps(images_with_beads(rng, places, 100.0), 100.0)
    found, heights = bead_candidates(maps, 0, 6.0)
    assert len(found) == 3
    nearest = np.linalg.norm(found[:, None] - places, axis=-1).min(axis=0)
    assert nearest.max() < 0.2 * PIXEL
    assert heights.min() > 15


def test_a_map_is_in_units_of_its_spread_and_noise_has_no_candidates(rng):
    maps = bead_maps(images_with_beads(rng, [], 100.0), 100.0)
    assert float(maps.maps[0].std()) == pytest.approx(1.0, rel=0.05)
    assert len(bead_candidates(maps, 0, 6.0)[0]) == 0


def test_bright_spots_and_spots_at_the_border_are_no_candidates(rng):
    border = [[-900.0, 0.0], [895.0, 30.0]]
    assert len(bead_candidates(bead_maps(images_with_beads(rng, border, 100.0), 100.0), 0, 6.0)[0]) == 0
    bright = bead_maps(images_with_beads(rng, [[0.0, 0.0]], 100.0, depth=-12.0), 100.0)
    found, _ = bead_candidates(bright, 0, 6.0)
    # Around a bright spot its ring is dark: never the centre.
    assert (np.linalg.norm(found, axis=1) > 50).all()


@pytest.mark.parametrize("diameter", [70.0, 100.0, 200.0])
def test_the_diameter_is_measured(rng, diameter):
    places = np.stack(np.meshgrid([-1500, -500, 500, 1500], [-1100, 0, 1100]), axis=-1).reshape(-1, 2)
    images = images_with_beads(rng, places, diameter, shape=(360, 401), depth=5.0)
    # The candidates stand 18 % apart.
    assert measure_bead_diameter(images, 0) == pytest.approx(diameter, rel=0.2)


def crowded(rng, n, diameter, shape=(90, 106)):
    """Places of beads that do not overlap, all over the field and beyond its border."""
    places = []
    while len(places) < n:
        at = rng.uniform(-0.55, 0.55, 2) * np.array(shape[::-1]) * PIXEL
        if all(np.hypot(*(at - other)) > 1.15 * diameter for other in places):
            places.append(at)
    return np.array(places)


@pytest.mark.parametrize("n", [4, 12, 28, 40])
def test_gold_is_found_where_it_fills_the_field(rng, n):
    """40 beads of 100 A cover a quarter of it: the spread of the map is then that of the beads."""
    places = crowded(rng, n, 100.0)
    images = images_with_beads(rng, places, 100.0, shape=(90, 106))
    maps = bead_maps(images, 100.0, may_be_crowded=True)
    found, _ = bead_candidates(maps, 0, 6.0)
    inside = (np.abs(places) < np.array([530.0, 450.0]) - 60).all(axis=1)
    nearest = np.linalg.norm(found[:, None] - places[inside], axis=-1).min(axis=0)
    assert (nearest < 0.5 * PIXEL).mean() > 0.9
    assert (np.linalg.norm(found[:, None] - places, axis=-1).min(axis=1) < 4 * PIXEL).all()


@pytest.mark.parametrize("seed", range(8))
def test_structured_noise_does_not_count_as_crowded_gold(seed):
    """Blobs of many sizes, as crowded cytoplasm shows, in a small field."""
    drawn = np.random.default_rng(seed)
    y, x = (np.fft.fftfreq(n) for n in (80, 106))
    falloff = 1 / (0.03 + np.hypot(y[:, None], x[None]))
    image = np.fft.ifft2(np.fft.fft2(drawn.normal(size=(80, 106))) * falloff).real
    one = TiltImages(torch.from_numpy(image[None] / image.std()).float(), PIXEL, np.ones(1), np.ones(1))
    for diameter in (60.0, 100.0, 200.0):
        assert len(bead_candidates(bead_maps(one, diameter, may_be_crowded=True), 0, 6.0)[0]) == 0
