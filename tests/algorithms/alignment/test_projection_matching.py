"""Images reprojected by the others lie where the images are, and shifts come out of it."""

import numpy as np
import torch

from cryoloom.algorithms.alignment.projection_matching import follow_up, match_projections
from cryoloom.algorithms.alignment.reprojections import reprojections
from cryoloom.algorithms.images.correlate import correlation_peaks
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages, band_response, edge_taper

SIDE, PIXEL, AXIS = 96, 20.0, 30.0
TILTS = np.arange(-60.0, 61.0, 5.0)
ALL = np.ones(len(TILTS), bool)


def make_images(rng):
    """Blobs in a slab 800 A thick, and their geometry."""
    truth = SeriesGeometry.start(TILTS, AXIS, rng.normal(0, 30, (len(TILTS), 2)))
    half = SIDE * PIXEL / 2
    points = rng.uniform(-1, 1, (700, 3)) * [2.4 * half, 1.6 * half, 400]
    tick = np.arange(SIDE) - SIDE // 2
    images = rng.normal(0, 1.0, (len(TILTS), SIDE, SIDE))
    for image, at in zip(images, truth.project(points) / PIXEL, strict=True):
        across = np.exp(-((tick - at[:, :1]) ** 2) / 8)
        image -= 3 * np.exp(-((tick - at[:, 1:]) ** 2) / 8).T @ across
    images /= images.std(axis=(1, 2), keepdims=True)
    ones = np.ones(len(TILTS))
    return TiltImages(torch.from_numpy(images).float(), PIXEL, ones, ones), truth


def test_an_image_lies_where_the_others_foretell_it(rng):
    images, truth = make_images(rng)
    reprojected = reprojections(images, truth, ALL)
    taper = edge_taper((SIDE, SIDE), 0.3)
    response = band_response((SIDE, SIDE), SIDE / 8, 4.0)
    peaks = correlation_peaks(reprojected * taper, images.images * taper, response, 12)
    flat = np.abs(TILTS) < 50
    assert np.abs(peaks.shifts_yx_px.numpy()[flat]).max() < 0.5
    # Noise alone reaches about 5; what an image put in itself would stand out with 50 and more.
    assert peaks.prominence.numpy()[flat].min() > 6


def test_an_image_does_not_foretell_itself(rng):
    noise = TiltImages(
        torch.from_numpy(rng.normal(size=(len(TILTS), SIDE, SIDE))).float(), PIXEL, np.ones(25), np.ones(25)
    )
    geometry = SeriesGeometry.start(TILTS, AXIS)
    reprojected = reprojections(noise, geometry, ALL)[:, 20:-20, 20:-20].flatten(1)
    own = noise.images[:, 20:-20, 20:-20].flatten(1)
    likeness = (reprojected * own).sum(1) / (reprojected.norm(dim=1) * own.norm(dim=1))
    assert likeness.abs().max() < 0.1


def test_shifts_are_matched(rng):
    images, truth = make_images(rng)
    error = rng.normal(0, 40, (len(TILTS), 2))
    start = SeriesGeometry.start(TILTS, AXIS, truth.shift_xy_angstrom + error)
    found = match_projections(images, start, ALL, max_shift_angstrom=200.0)
    difference = (found.shift_xy_angstrom - truth.shift_xy_angstrom).ravel()
    moves = truth.matrices[:, :2].reshape(-1, 3)  # the origin is free
    difference -= moves @ np.linalg.lstsq(moves, difference, rcond=None)[0]
    assert np.sqrt((difference**2).mean()) < 25.0  # it began at 40; drifts over all tilts hardly show


def test_what_moves_along_is_followed_up(rng):
    """A smooth error shows little against references that share it; a jump of one image shows in full."""
    error = np.stack([40 * np.sin(np.deg2rad(TILTS)), 20 * np.cos(np.deg2rad(2 * TILTS))], axis=1)
    error[7] += [30.0, -25.0]
    response = np.stack([_displacement(np.eye(len(TILTS))[k]) for k in range(len(TILTS))], axis=1)
    shown = response @ error
    assert np.abs(shown[12]).max() < 8.0
    found = follow_up(shown, np.ones(len(TILTS)), TILTS)
    missed = (found - found.mean(axis=0)) - (error - error.mean(axis=0))
    # What hardly shows, here the depth of the whole, is held back by a quarter; the jump is there in full.
    assert np.abs(missed).max() < 0.3 * np.abs(error).max()
    assert np.abs(missed[7] - 0.5 * (missed[6] + missed[8])).max() < 1.0


def _displacement(error):
    """What an error of one view shows in all: its own less the share it has in each of the others."""
    apart = np.abs(np.sin(np.deg2rad(TILTS[:, None] - TILTS[None, :])))
    frequency = np.linspace(0.1, 1.0, 10) / 80.0
    overlap = np.clip(1 - 1500.0 * apart[..., None] * frequency, 0, None).sum(axis=-1)
    np.fill_diagonal(overlap, 0.0)
    return error - overlap @ error / overlap.sum(axis=1)
