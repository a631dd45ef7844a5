"""Compact features in noise are found where they are; noise has none that fit."""

from dataclasses import replace

import numpy as np
import torch

from cryoloom.algorithms.alignment.cross_validation import pose_distances
from cryoloom.algorithms.alignment.feature_tracking import error_of_halves, find_features, track_features
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages

SIDE, PIXEL = 128, 14.0
TILTS = np.arange(-60.0, 61.0, 6.0)


def make_images(rng, n_features=12):
    """Dark round blobs of 200 A at known places; images of noise."""
    geometry = SeriesGeometry.start(TILTS, 30.0, rng.normal(0, 40, (len(TILTS), 2)))
    points = rng.uniform(-1, 1, (n_features, 3)) * [650, 650, 400]
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    images = rng.normal(0, 0.7, (len(TILTS), SIDE, SIDE))
    for image, positions in zip(images, geometry.project(points) / PIXEL, strict=True):
        for px, py in positions:
            image -= 3 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * (70 / PIXEL) ** 2))
    ones = np.ones(len(TILTS))
    return TiltImages(torch.from_numpy(images).float(), PIXEL, ones, ones), geometry, points


def test_features_lie_at_their_depth(rng):
    images, geometry, points = make_images(rng)
    found = find_features(images, geometry, np.ones(len(TILTS), bool))
    distance = np.linalg.norm(found[:6, None] - points[None], axis=2).min(axis=1)
    assert np.median(distance) < 60.0


def test_noise_has_no_features_that_fit(rng):
    images, geometry, _ = make_images(rng, n_features=0)
    result = track_features(images, geometry, np.ones(len(TILTS), bool))
    assert result is None or result.solution.mean_residual_angstrom(result.tracks) > PIXEL


def test_halves_of_the_features_tell_the_error_of_the_poses(rng):
    images, geometry, _ = make_images(rng, n_features=30)
    usable = np.ones(len(TILTS), bool)
    found = track_features(images, geometry, usable)
    reported = error_of_halves(images, found, usable)
    points = rng.uniform(-1, 1, (100, 3)) * [650, 650, 400]
    true = pose_distances(geometry, found.solution.geometry, points, usable)
    assert 0.4 < np.sqrt(np.mean(true**2) / np.mean(reported**2)) < 2.5


def test_a_few_features_have_no_halves(rng):
    images, geometry, _ = make_images(rng)
    usable = np.ones(len(TILTS), bool)
    found = track_features(images, geometry, usable)
    few = replace(found, found_xyz_angstrom=found.found_xyz_angstrom[:15])
    assert error_of_halves(images, few, usable) is None
