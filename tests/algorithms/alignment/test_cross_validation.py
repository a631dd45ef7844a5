"""Errors of an alignment as observations show them that it did not use, against its true errors."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.alignment.bundle_adjustment import adjust_bundle
from cryoloom.algorithms.alignment.cross_validation import (
    leave_one_out_residuals,
    left_out_errors,
    pose_distances,
    pose_errors,
)
from cryoloom.algorithms.alignment.tracks import residuals, triangulate
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from makers.known_tracks import TILTS, known_tracks


def test_left_out_error_shows_over_fitting(rng):
    _, _, tracks = known_tracks(rng, noise_angstrom=5.0, n_points=8)
    start = SeriesGeometry.start(TILTS, 84.0)
    free = DegreesOfFreedom("per_view", "per_view", magnification="per_view")
    fit = [adjust_bundle(tracks, start, f).residual_angstrom.mean() for f in (None, free)]
    honest = [np.nanmean(left_out_errors(tracks, start, f)) for f in (None, free)]
    assert fit[1] < fit[0]
    assert honest[1] > honest[0] > fit[0]


def test_split_halves_tell_the_error_of_the_poses(rng):
    start = SeriesGeometry.start(TILTS, 84.0)
    reported, true = [], []
    for _ in range(4):
        truth, points, tracks = known_tracks(rng, noise_angstrom=4.0, n_points=24)
        reported.append(np.nanmedian(pose_errors(tracks, start)))
        solution = adjust_bundle(tracks, start)
        # Both are centred on their mean point, so that nothing but small turns is left to differ.
        difference = solution.geometry.project(points - points.mean(axis=0)) - truth.project(points)
        true.append(np.sqrt((difference**2).sum(-1).mean()))
    assert 0.5 < np.mean(reported) / np.mean(true) < 1.5


@pytest.mark.parametrize("n_points", [4, 6, 9])
def test_few_tracks_tell_the_error_of_the_poses_by_being_left_out_in_turn(n_points, rng):
    start = SeriesGeometry.start(TILTS, 84.0)
    reported, true = [], []
    for _ in range(4):
        truth, points, tracks = known_tracks(rng, noise_angstrom=4.0, n_points=n_points)
        reported.append(np.nanmedian(pose_errors(tracks, start)))
        solution = adjust_bundle(tracks, start)
        distances = pose_distances(truth, solution.geometry, points, np.ones(len(TILTS), dtype=bool))
        true.append(np.sqrt(np.mean(distances**2)))
    # 24 draws with this many points gave 0.94 to 1.00.
    assert 0.75 < np.mean(reported) / np.mean(true) < 1.3


def test_three_tracks_tell_no_error(rng):
    _, _, tracks = known_tracks(rng, noise_angstrom=4.0, n_points=3)
    assert np.isnan(pose_errors(tracks, SeriesGeometry.start(TILTS, 84.0))).all()


def test_a_rigid_motion_is_no_distance_of_poses(rng):
    truth, points, _ = known_tracks(rng)
    turn = Rotation.from_rotvec([0.02, -0.03, 0.01]).as_matrix()
    moved = points @ turn.T + [40.0, -25.0, 60.0]
    # The same images from points that have all moved: the geometry of the moved specimen.
    every = np.ones(len(TILTS), dtype=bool)
    shifted = replace(
        truth, shift_xy_angstrom=truth.shift_xy_angstrom - truth.matrices[:, :2] @ [40.0, -25.0, 60.0]
    )
    assert_allclose(pose_distances(truth, shifted, moved, every), 0, atol=1e-6)
    jump = truth.shift_xy_angstrom.copy()
    jump[7] += [30.0, 40.0]
    off = pose_distances(truth, replace(truth, shift_xy_angstrom=jump), points, every)
    # 50 A of one view of 25; the common motion takes a little of it and gives it to the others.
    assert 40 < off[7] < 50
    assert np.delete(off, 7).max() < 10


def test_poses_of_views_that_are_not_known_have_no_distance(rng):
    truth, points, _ = known_tracks(rng)
    known = np.ones(len(TILTS), dtype=bool)
    known[4] = False
    assert np.isnan(pose_distances(truth, truth, points, known)).tolist() == (~known).tolist()
    known[2:] = False
    assert np.isnan(pose_distances(truth, truth, points, known)).all()


def test_a_residual_left_out_is_longer_than_that_of_the_fit(rng):
    truth, _, tracks = known_tracks(rng, noise_angstrom=4.0)
    left_out = leave_one_out_residuals(tracks, truth)
    fit = residuals(tracks, truth, triangulate(tracks, truth, tracks.weight))
    # Three variables of a point from 25 views of two coordinates: 50 / 47 of the variance, not 47 / 50.
    assert np.sqrt((left_out**2).mean()) == pytest.approx(4 * np.sqrt(2) * np.sqrt(50 / 47), rel=0.07)
    assert (left_out**2).sum() > 1.05 * (fit**2).sum()
    assert len(leave_one_out_residuals(tracks.select(tracks.view < 0), truth)) == 0
