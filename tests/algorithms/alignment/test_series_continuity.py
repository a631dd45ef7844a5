"""Features of the specimen continue through a series that is posed right, and not where poses jump."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cryoloom.algorithms.alignment.series_continuity import Continuity, posed_apart, series_continuity
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages
from makers.gold_field import gold

PIXEL = 12.0
TILT_DEG = np.arange(-60.0, 61.0, 4.0)
EVERYTHING = np.ones(len(TILT_DEG), dtype=bool)


def particles_in_noise(rng, n_particles=60, shape=(150, 160)):
    """Dark blobs of 200 A in 700 A of ice: the images, and the true geometry."""
    geometry = SeriesGeometry.start(TILT_DEG, 84.0, rng.normal(0, 30, (len(TILT_DEG), 2)))
    points = rng.uniform(-1, 1, (n_particles, 3)) * [1500, 850, 350]
    y, x = (np.arange(n) - n // 2 for n in shape)
    images = rng.normal(size=(len(TILT_DEG), *shape)).astype(np.float32)
    for image, places in zip(images, geometry.project(points) / PIXEL, strict=True):
        for at_x, at_y in places:
            along_y, along_x = np.exp(-((y - at_y) ** 2) / 70), np.exp(-((x - at_x) ** 2) / 70)
            image -= 1.6 * along_y[:, None] * along_x[None, :]
    ones = np.ones(len(TILT_DEG))
    return TiltImages(torch.from_numpy(images), PIXEL, ones, ones), geometry


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_jump_of_the_poses_breaks_a_series(seed):
    images, geometry = particles_in_noise(np.random.default_rng(seed))
    right = series_continuity(images, geometry, EVERYTHING)
    assert not right.unsupported.any()
    found = right.least
    assert found is not None
    assert found.across > 0.7 * found.among  # the least of 25 places, each with an error of a tenth
    assert not found.is_broken(0.55)
    shift = geometry.shift_xy_angstrom.copy()
    shift[TILT_DEG > 20] += [150.0, 200.0]
    broken = series_continuity(images, replace(geometry, shift_xy_angstrom=shift), EVERYTHING).least
    assert broken is not None
    assert broken.is_broken(0.55)
    assert broken.tilt_deg == pytest.approx(22.0, abs=4.0)  # between 20 and 24 degrees, or next to it


def test_noise_tells_nothing(rng):
    images, geometry = particles_in_noise(rng, n_particles=0)
    found = series_continuity(images, geometry, EVERYTHING)
    assert found.least is None or not found.least.is_broken(0.55)
    assert not found.unsupported.any()


@pytest.mark.parametrize("lost", [0, 14, 30])
@pytest.mark.parametrize("away_angstrom", [250.0, 900.0])
def test_a_view_that_shows_something_else_is_found(lost, away_angstrom, rng):
    """Also at the ends of a series, where no place has views on both sides."""
    images, geometry = particles_in_noise(rng)
    shift = geometry.shift_xy_angstrom.copy()
    shift[lost] += [0.6 * away_angstrom, 0.8 * away_angstrom]
    found = series_continuity(images, replace(geometry, shift_xy_angstrom=shift), EVERYTHING)
    np.testing.assert_array_equal(np.flatnonzero(found.unsupported), [lost])


def test_an_uncertain_difference_breaks_nothing():
    assert Continuity(3.0, across=0.2, among=0.6, error=0.05).is_broken(0.55)
    assert not Continuity(3.0, across=0.2, among=0.6, error=0.2).is_broken(0.55)


def test_features_that_change_fast_everywhere_are_no_break():
    # Shells of many layers with true poses: 0.47 at the lowest place, 0.57 at the typical one.
    shells = Continuity(37.6, across=0.41, among=0.87, error=0.03, typical_ratio=0.57)
    assert not shells.is_broken(0.55)
    assert replace(shells, typical_ratio=0.85).is_broken(0.55)
    assert replace(shells, across=0.2).is_broken(0.55)  # whatever is typical
    # Features near the noise: nothing is known of how fast they change.
    assert Continuity(37.6, across=0.25, among=0.6, error=0.03, typical_ratio=0.57).is_broken(0.55)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_blocks_that_follow_other_beads_are_posed_apart(seed):
    images, geometry = gold(seed)
    everything = np.ones(geometry.n_views, dtype=bool)
    alone, in_parts = posed_apart(images, geometry, everything)
    assert not alone.any()
    assert not in_parts
    shift = geometry.shift_xy_angstrom.copy()
    shift[geometry.tilt_deg > 8] += [330.0, -180.0]
    shift[12] += [-250.0, 240.0]
    alone, in_parts = posed_apart(images, replace(geometry, shift_xy_angstrom=shift), everything)
    np.testing.assert_array_equal(np.flatnonzero(alone), [12])
    assert in_parts


@pytest.mark.parametrize("n_particles", [0, 5, 60])
def test_images_that_agree_nowhere_contradict_no_poses(n_particles, rng):
    """Noise has no peak that is certain; and true poses are not contradicted, however few the features."""
    images, geometry = particles_in_noise(rng, n_particles=n_particles)
    alone, in_parts = posed_apart(images, geometry, EVERYTHING)
    assert not alone.any()
    assert not in_parts
