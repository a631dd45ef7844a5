"""Poses at a maximum: planted ones are found from nearby, errors are as given, priors have their slopes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.pose_refinement import PosePrior, refine_poses
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.geometry.rotations import rotation_from_vector
from makers.posed_images import made_images, random_cube

N = 10


@pytest.fixture
def scene(rng):
    cube = random_cube(rng)
    true = Rotation.random(N, rng).as_matrix()
    shifts = rng.normal(0, 4.0, (N, 3))
    images = made_images(cube, true, shifts, 60.0, rng)
    return cube, images, true, shifts, images.plane.n_within(20.0)


def nearby(true, shifts, degrees, angstrom, rng):
    vectors = rng.standard_normal((N, 3))
    vectors *= np.deg2rad(degrees) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return true @ rotation_from_vector(vectors), shifts + rng.normal(0, angstrom, (N, 3))


def test_planted_poses_are_found_and_their_errors_reported(scene, rng):
    cube, images, true, shifts, n_used = scene
    found = refine_poses(images, cube, *nearby(true, shifts, 5.0, 1.5, rng), n_used, n_rounds=12)
    turned = rotations_between(found.rotations, true)
    moved = np.linalg.norm(found.shifts_xyz_angstrom - shifts, axis=1)
    # Root of summed variances of three coordinates: rms ratio 1, within four deviations of ten draws.
    assert 0.4 < np.sqrt(((turned / found.angle_sd_deg) ** 2).mean()) < 1.7
    assert 0.4 < np.sqrt(((moved / found.shift_sd_angstrom) ** 2).mean()) < 1.7
    at_truth = refine_poses(images, cube, true, shifts, n_used, n_rounds=0)
    assert (found.log_posterior > at_truth.log_posterior - 0.1).all()
    assert_array_equal(at_truth.rotations, true)


def test_no_round_makes_a_pose_worse(scene, rng):
    cube, images, true, shifts, n_used = scene
    start = nearby(true, shifts, 40.0, 10.0, rng)
    before = refine_poses(images, cube, *start, n_used, n_rounds=0)
    after = refine_poses(images, cube, *start, n_used, n_rounds=5)
    assert (after.log_posterior >= before.log_posterior).all()
    best = before.or_better(after)
    assert_array_equal(best.rotations, after.rotations)
    mixed = after.or_better(before)
    assert_array_equal(mixed.log_posterior, after.log_posterior)


def test_a_narrow_prior_keeps_particles_where_they_were_picked(scene, rng):
    cube, images, true, shifts, n_used = scene
    free = refine_poses(images, cube, true, 0 * shifts, n_used, n_rounds=10)
    held = refine_poses(images, cube, true, 0 * shifts, n_used, n_rounds=10, prior=PosePrior(0.01))
    assert np.linalg.norm(free.shifts_xyz_angstrom, axis=1).mean() > 3
    assert np.linalg.norm(held.shifts_xyz_angstrom, axis=1).max() < 0.1
    assert held.shift_sd_angstrom.max() < 0.01 * np.sqrt(3) * 1.001


def test_slopes_of_priors_are_their_differences(rng):
    rotations = Rotation.random(N, rng).as_matrix()
    shifts = rng.normal(0, 5, (N, 3))
    directions = rotations[:, :, 2] + rng.normal(0, 0.1, (N, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions[3] = np.nan
    prior = PosePrior(6.0, directions, np.full(N, 12.0))
    value, slope, _ = prior.terms(rotations, shifts)
    step = 1e-5
    for k in range(6):
        turn, move = np.zeros((N, 3)), np.zeros(3)
        if k < 3:
            turn[:, k] = step
        else:
            move[k - 3] = step
        moved = shifts + np.einsum("nij,j->ni", rotations, move)
        after = prior.terms(rotations @ rotation_from_vector(turn), moved)[0]
        assert_allclose((after - value) / step, slope[:, k], atol=2e-3)
    # A pick without a direction has the prior of its shift alone.
    assert_allclose(value[3], -0.5 * (shifts[3] ** 2).sum() / 36)
    assert_array_equal(prior.take(np.array([4, 2])).directions, directions[[4, 2]])
