"""Poses of a series as arrays, and what stays the same when they are written another way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.algorithms.series.series_geometry import SeriesGeometry, geometry_of_poses
from cryoloom.geometry.projection import projection_matrices
from cryoloom.model import Pose

TILTS = np.array([-60.0, -20.0, 0.0, 45.0])


@pytest.fixture
def geometry(rng):
    return SeriesGeometry(
        axis_deg=84.0 + rng.normal(0, 0.3, 4),
        tilt_deg=TILTS,
        shift_xy_angstrom=rng.normal(0, 50, (4, 2)),
        x_tilt_deg=np.full(4, 2.0),
        magnification=1 + rng.normal(0, 0.01, 4),
        beam_tilt_deg=np.full(4, 1.2),
    )


def test_a_start_has_one_axis_and_no_deformation():
    start = SeriesGeometry.start(TILTS, 84.0)
    np.testing.assert_allclose(start.matrices, projection_matrices(84.0, TILTS))
    assert (start.n_views, start.mean_axis_deg) == (4, 84.0)
    assert not start.shift_xy_angstrom.any()


def test_stretch_and_skew_deform_the_specimen_before_it_is_turned():
    geometry = replace(SeriesGeometry.start([30.0], 84.0), stretch=np.array([0.1]), skew=np.array([0.2]))
    point = np.array([100.0, 50.0, 10.0])
    deformed = np.array([[1.1 * 100 + 0.2 * 50, 50.0, 10.0]])
    plain = SeriesGeometry.start([30.0], 84.0)
    np.testing.assert_allclose(geometry.project(point[None]), plain.project(deformed))


def test_without_a_beam_tilt_points_are_projected_alike(rng, geometry):
    points = rng.uniform(-500, 500, (20, 3))
    plain = geometry.without_beam_tilt()
    assert not plain.beam_tilt_deg.any()
    np.testing.assert_allclose(plain.project(points), geometry.project(points), atol=1e-9)
    assert np.abs(plain.axis_deg - geometry.axis_deg).max() < 5  # the nearest turn, not a whole one
    assert plain.without_beam_tilt() is plain


def test_moving_the_origin_moves_nothing_in_the_images(rng, geometry):
    points, offset = rng.uniform(-500, 500, (20, 3)), np.array([30.0, -80.0, 200.0])
    moved = geometry.with_origin_moved(offset)
    np.testing.assert_allclose(moved.project(points - offset), geometry.project(points), atol=1e-9)


def test_turning_the_axis_turns_it_in_all_views(geometry):
    np.testing.assert_allclose(geometry.with_axis_turned(2.0).axis_deg, geometry.axis_deg + 2.0)


def test_poses_become_a_geometry(rng):
    poses = [Pose(84.0 + i, tilt, 1.0, (3.0 * i, -i), 1 + 0.01 * i) for i, tilt in enumerate(TILTS)]
    made = geometry_of_poses(poses)
    point = rng.uniform(-500, 500, (1, 3))
    for pose, projected in zip(poses, made.project(point)[:, 0], strict=True):
        expected = pose.shift_xy_angstrom + pose.magnification * (pose.matrix @ point[0])[:2]
        np.testing.assert_allclose(projected, expected)


def test_views_are_taken_outwards_from_the_least_tilted_usable_one():
    geometry = SeriesGeometry.start(np.array([-6.0, -3.0, 0.0, 3.0, 6.0]), 85.0)
    assert geometry.outwards(np.ones(5, bool)) == [2, 1, 3, 0, 4]
    assert geometry.outwards(np.array([True, True, False, True, True])) == [1, 0, 3, 4]
