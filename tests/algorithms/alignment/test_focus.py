"""Smooth drifts that neighbours cannot tell are found by sharpness; what a place explains is left alone."""

import numpy as np
import pytest
import torch

from cryoloom.algorithms.alignment.focus import (
    drift_error,
    drift_modes,
    focus_finely,
    focus_series,
    sharpness,
    without_drift,
)
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages

SIDE, PIXEL, AXIS = 96, 30.0, 30.0
TILTS = np.arange(-60.0, 61.0, 5.0)
ALL = np.ones(len(TILTS), bool)
ACROSS = np.array([np.cos(np.deg2rad(AXIS)), np.sin(np.deg2rad(AXIS))])


def make_images(rng, n_points=60):
    """Dark blobs in a slab, well apart, in noise."""
    truth = SeriesGeometry.start(TILTS, AXIS, rng.normal(0, 30, (len(TILTS), 2)))
    half = SIDE * PIXEL / 2
    points = rng.uniform(-1, 1, (n_points, 3)) * [1.4 * half, half, 500]
    tick = np.arange(SIDE) - SIDE // 2
    images = rng.normal(0, 1, (len(TILTS), SIDE, SIDE))
    for image, at in zip(images, truth.project(points) / PIXEL, strict=True):
        across = np.exp(-((tick - at[:, :1]) ** 2) / 8)
        image -= 2.5 * np.exp(-((tick - at[:, 1:]) ** 2) / 8).T @ across
    ones = np.ones(len(TILTS))
    return TiltImages(torch.from_numpy(images).float(), PIXEL, ones, ones), truth


def moved(geometry, drift, turn_deg=0.0):
    return SeriesGeometry.start(TILTS, AXIS + turn_deg, geometry.shift_xy_angstrom + drift[:, None] * ACROSS)


def rms_off(found, truth):
    """Rms difference of the shifts, less what another origin explains."""
    difference = (found.shift_xy_angstrom - truth.shift_xy_angstrom).ravel()
    moves = truth.matrices[:, :2].reshape(-1, 3)
    difference -= moves @ np.linalg.lstsq(moves, difference, rcond=None)[0]
    return float(np.sqrt(2 * (difference**2).mean()))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_drift_and_a_turn_of_the_axis_are_undone(seed):
    rng = np.random.default_rng(seed)
    images, truth = make_images(rng)
    # As a chain of neighbours makes it: everything rises from tilt to tilt.
    start = moved(truth, 900 * (1 - np.cos(np.deg2rad(TILTS))), turn_deg=3.0)
    assert rms_off(start, truth) > 100
    found = focus_series(images, start, ALL, axis_reach_deg=4.0)
    assert rms_off(found, truth) < 15  # half a pixel
    # At the edge of a field this small 1.2 degrees are a pixel.
    assert abs(found.mean_axis_deg - AXIS) < 1.2
    assert sharpness(images, found, ALL) > 1.2 * sharpness(images, start, ALL)


def test_a_good_alignment_stays(rng):
    images, truth = make_images(rng)
    assert rms_off(focus_series(images, truth, ALL), truth) < 10


@pytest.mark.parametrize("n_points", [6, 60])
def test_the_error_of_the_drift_is_as_large_as_it_tells(n_points):
    """Few points in the same noise leave the drift more open; 68 % of errors lie within the one reported."""
    true, reported = [], []
    for seed in range(4):
        images, truth = make_images(np.random.default_rng(seed), n_points)
        found = focus_series(images, truth, ALL, axis_reach_deg=0.0, reach_angstrom=80.0)
        true.append(rms_off(found, truth))
        reported.append(np.sqrt(np.mean(drift_error(images, found, ALL) ** 2)))
    ratio = np.sqrt(np.mean(np.square(true)) / np.mean(np.square(reported)))
    assert 0.4 < ratio < 2.5


def test_left_out_images_have_no_say_and_do_not_move(rng):
    images, truth = make_images(rng)
    usable = ALL.copy()
    usable[[3, 12]] = False
    images.images[3] = 40 * torch.randn(SIDE, SIDE)
    found = focus_series(images, moved(truth, 500 * (1 - np.cos(np.deg2rad(TILTS)))), usable)
    start = moved(truth, 500 * (1 - np.cos(np.deg2rad(TILTS))))
    np.testing.assert_array_equal(found.shift_xy_angstrom[3], start.shift_xy_angstrom[3])
    kept = usable.nonzero()[0]
    across = ((found.shift_xy_angstrom - truth.shift_xy_angstrom) @ ACROSS)[kept]
    explained = np.stack([np.cos(np.deg2rad(TILTS)), np.sin(np.deg2rad(TILTS))], axis=1)[kept]
    across -= explained @ np.linalg.lstsq(explained, across, rcond=None)[0]
    assert np.sqrt((across**2).mean()) < 15


@pytest.mark.parametrize("tilts", [TILTS, np.arange(-40.0, 66.0, 3.0)])
def test_modes_are_no_place_of_the_specimen(tilts):
    modes = drift_modes(tilts)
    np.testing.assert_allclose((modes**2).mean(axis=1), 1)
    np.testing.assert_allclose(modes @ modes.T / len(tilts), np.eye(len(modes)), atol=1e-9)
    np.testing.assert_allclose(modes @ np.cos(np.deg2rad(tilts)), 0, atol=1e-8)
    np.testing.assert_allclose(modes @ np.sin(np.deg2rad(tilts)), 0, atol=1e-8)
    # The drift that lets the specimen rise with the tilt is one of them.
    drift = 1 - np.cos(np.deg2rad(tilts))
    rest = without_drift(
        drift[:, None] * ACROSS, SeriesGeometry.start(tilts, AXIS), np.ones(len(tilts), bool)
    )
    assert np.abs(rest).max() < 2e-3


def test_jumps_and_what_lies_along_the_axis_are_kept():
    along = np.array([-ACROSS[1], ACROSS[0]])
    change = 30 * np.sin(np.deg2rad(3 * TILTS))[:, None] * along
    geometry = SeriesGeometry.start(TILTS, AXIS)
    np.testing.assert_allclose(without_drift(change, geometry, ALL), change, atol=1e-9)
    jump = np.zeros(len(TILTS))
    jump[12] = 50.0
    kept = without_drift(jump[:, None] * ACROSS, geometry, ALL) @ ACROSS
    assert kept[12] > 35


def make_fine_images(rng, n_points=60):
    """Dark blobs of 50 A in pixels of 12 A."""
    side, pixel = 96, 12.0
    truth = SeriesGeometry.start(TILTS, AXIS, rng.normal(0, 30, (len(TILTS), 2)))
    half = side * pixel / 2
    points = rng.uniform(-1, 1, (n_points, 3)) * [1.4 * half, half, 300]
    tick = np.arange(side) - side // 2
    images = rng.normal(0, 1, (len(TILTS), side, side))
    for image, at in zip(images, truth.project(points) / pixel, strict=True):
        across = np.exp(-((tick - at[:, :1]) ** 2) / 6)
        image -= (n_points > 0) * 2.5 * np.exp(-((tick - at[:, 1:]) ** 2) / 6).T @ across
    ones = np.ones(len(TILTS))
    return TiltImages(torch.from_numpy(images).float(), pixel, ones, ones), truth


@pytest.mark.parametrize("seed", [1, 2])
def test_fine_detail_undoes_a_drift_of_half_a_small_body(seed):
    images, truth = make_fine_images(np.random.default_rng(seed))
    start = moved(truth, 12.0 * drift_modes(TILTS)[0])
    assert rms_off(start, truth) > 8
    found, error = focus_finely(images, start, ALL)
    assert rms_off(found, truth) < 2.5
    assert 0.1 < np.sqrt(np.mean(error**2)) < 4


def test_noise_has_no_fine_detail(rng):
    images, truth = make_fine_images(rng, n_points=0)
    assert focus_finely(images, truth, ALL) is None


def test_pixels_too_large_for_fine_detail_are_left_alone(rng):
    images, truth = make_images(rng)
    assert (
        focus_finely(images.__class__(images.images, 40.0, images.mean, images.deviation), truth, ALL) is None
    )
