"""Patches followed through projections of a slab whose poses are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.alignment.cross_validation import pose_distances
from cryoloom.algorithms.alignment.patch_tracking import patch_centres, track_patches
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages

SIDE, PIXEL, AXIS = 96, 20.0, 30.0
TILTS = np.arange(-60.0, 61.0, 5.0)
ALL = np.ones(len(TILTS), bool)


def blob_images(rng, truth):
    """Blobs in a slab 600 A thick."""
    half = SIDE * PIXEL / 2
    points = rng.uniform(-1, 1, (500, 3)) * [2.0 * half, 1.6 * half, 300]
    tick = np.arange(SIDE) - SIDE // 2
    images = rng.normal(0, 1.0, (len(TILTS), SIDE, SIDE))
    for image, at in zip(images, truth.project(points) / PIXEL, strict=True):
        across = np.exp(-((tick - at[:, :1]) ** 2) / 8)
        image -= 3 * np.exp(-((tick - at[:, 1:]) ** 2) / 8).T @ across
    images /= images.std(axis=(1, 2), keepdims=True)
    ones = np.ones(len(TILTS))
    return TiltImages(torch.from_numpy(images).float(), PIXEL, ones, ones)


def test_shifts_come_back_to_the_truth(rng):
    truth = SeriesGeometry.start(TILTS, AXIS, rng.normal(0, 30, (len(TILTS), 2)))
    error = rng.normal(0, 25, (len(TILTS), 2))
    start = SeriesGeometry.start(TILTS, AXIS, truth.shift_xy_angstrom + error)
    tracking = track_patches(
        blob_images(rng, truth), start, ALL, patch_angstrom=500.0, spacing_angstrom=250.0
    )
    assert tracking is not None
    found = tracking.solution.geometry
    points = rng.uniform(-400, 400, (40, 3)) * [1, 1, 0.3]
    before, after = (pose_distances(truth, one, points, ALL) for one in (start, found))
    assert np.median(after) < 0.5 * np.median(before)
    assert np.median(after) < 0.5 * PIXEL
    assert tracking.tracks.n_views == len(TILTS)
    assert tracking.tracks.n_points >= 20


def test_noise_has_no_patches_to_follow(rng):
    ones = np.ones(len(TILTS))
    noise = TiltImages(torch.from_numpy(rng.normal(size=(len(TILTS), SIDE, SIDE))).float(), PIXEL, ones, ones)
    start = SeriesGeometry.start(TILTS, AXIS)
    tracking = track_patches(noise, start, ALL, patch_angstrom=500.0, spacing_angstrom=600.0, n_rounds=1)
    n_tracked = 0 if tracking is None else len(tracking.tracks.view)
    assert n_tracked < 0.5 * len(TILTS) * len(patch_centres(noise, AXIS, 600.0))


@pytest.mark.parametrize("axis_deg", [0.0, 85.0])
def test_centres_are_a_grid_within_the_field(axis_deg):
    ones = np.ones(3)
    field = TiltImages(torch.zeros((3, 60, 120)), PIXEL, ones, ones)
    centres = patch_centres(field, axis_deg, 200.0)
    assert (centres[:, 2] == 0).all()
    assert (
        np.linalg.norm(centres[:, None] - centres[None], axis=2) + 1e6 * np.eye(len(centres))
    ).min() == 200.0
    image = SeriesGeometry.start(np.zeros(1), axis_deg).project(centres)[0]
    assert (np.abs(image[:, 0]) < 1200 - 60).all()
    assert (np.abs(image[:, 1]) < 600 - 60).all()
    assert [0.0, 0.0, 0.0] in centres.tolist()
