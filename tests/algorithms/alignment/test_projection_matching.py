"""Images reprojected by the others lie where the images are, and shifts come out of it."""

import numpy as np

from cryoloom.algorithms.alignment.projection_matching import follow_up, match_projections
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from makers.slab_images import ALL, AXIS, TILTS, make_images


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
