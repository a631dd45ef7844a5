"""Passes over a series' particles at planted poses: what is found, what is measured and what is inserted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.passes import (
    Poses,
    SearchGrid,
    insert_pass,
    refine_pass,
    search_pass,
    split_tilt_pass,
)
from cryoloom.algorithms.averaging.pose_refinement import PosePrior
from cryoloom.algorithms.averaging.pose_search import shift_grid
from cryoloom.geometry.orientation_grid import rotation_grid, rotations_between
from makers.posed_images import made_images, random_cube

BAND_ANGSTROM = 24.0
N = 12
HALF = np.array([1, 2] * 5 + [0, 0])
INSERT_TO = 8.0


@pytest.fixture
def scene(rng):
    """A reference, images of twelve particles of which two are in no half, and their poses."""
    cube = random_cube(rng)
    grid = rotation_grid(40.0)
    true = grid[rng.integers(0, len(grid), N)]
    shifts = rng.normal(0, 3.0, (N, 3))
    images = made_images(cube, true, shifts, 40.0, rng)
    return cube, images, true, shifts, images.plane.n_within(BAND_ANGSTROM)


def poses_at(rotations, shifts):
    return Poses(HALF, rotations, shifts, PosePrior())


def turned(rotations, degrees, rng):
    vectors = rng.standard_normal((len(rotations), 3))
    vectors *= np.deg2rad(degrees) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return rotations @ Rotation.from_rotvec(vectors).as_matrix()


def power_of(insertion):
    return float(insertion.data.abs().square().sum())


def test_a_search_finds_planted_rotations_and_leaves_those_in_no_half(scene):
    cube, images, true, shifts, n_used = scene
    start = poses_at(np.broadcast_to(np.eye(3), (N, 3, 3)), np.round(shifts / 4.0) * 0.0)
    grid = SearchGrid(rotation_grid(40.0), shift_grid(12.0, 4.0))
    found = search_pass(images, (cube, cube), start, grid, n_used, INSERT_TO)
    used = HALF > 0
    assert rotations_between(found.rotations, true)[used].max() < 1e-3
    assert np.linalg.norm(found.shifts_xyz_angstrom - shifts, axis=1)[used].max() < 4.0
    assert (found.n_effective[used] < 1.5).all()
    # Half of the squared significance of 40, less what shifts between the grid's cost.
    assert found.log_likelihood[used].min() > 0.5 * 40.0**2 * 0.5
    np.testing.assert_array_equal(found.rotations[~used], start.rotations[~used])
    assert (found.log_likelihood[~used] == 0).all()
    assert power_of(found.halves[0]) > 0 < power_of(found.halves[1])


def test_each_half_is_compared_with_its_own_reference(scene):
    cube, images, true, shifts, n_used = scene
    grid = SearchGrid(rotation_grid(40.0), shift_grid(4.0, 4.0))
    found = search_pass(images, (cube, 0.01 * cube), poses_at(true, shifts), grid, n_used, INSERT_TO)
    assert found.log_likelihood[HALF == 1].min() > 10 * found.log_likelihood[HALF == 2].max() > 0


def test_a_refined_search_is_finer_than_its_grid(scene, rng):
    cube, images, true, shifts, n_used = scene
    grid = SearchGrid(rotation_grid(40.0)[::1], shift_grid(8.0, 4.0))
    start = poses_at(turned(true, 90.0, rng), np.zeros((N, 3)))
    found = search_pass(images, (cube, cube), start, grid, n_used, INSERT_TO, then_refine=True)
    used = HALF > 0
    assert rotations_between(found.rotations, true)[used].max() < 2.0
    assert np.linalg.norm(found.shifts_xyz_angstrom - shifts, axis=1)[used].max() < 2.0
    assert (found.angle_sd_deg[used] > 0).all()


def test_refinement_goes_back_to_the_truth_and_measures_the_noise(scene, rng):
    cube, images, true, shifts, n_used = scene
    start = poses_at(turned(true, 4.0, rng), shifts + rng.normal(0, 2.0, (N, 3)))
    found = refine_pass(images, (cube, cube), start, n_used, INSERT_TO)
    used = HALF > 0
    error = rotations_between(found.rotations, true)[used]
    assert error.max() < 2.0
    # The reported deviation of the whole rotation is that of its error.
    reported = np.sqrt(np.mean(found.angle_sd_deg[used] ** 2))
    assert np.sqrt(np.mean(error**2)) == pytest.approx(reported, rel=0.6)
    residual, expected, cross, quadratic = found.noise.sum(axis=(0, 1))
    # Six parameters of each particle are fitted; there are thousands of samples.
    assert residual / expected == pytest.approx(1.0, abs=0.05)
    assert cross / quadratic == pytest.approx(1.0, abs=0.05)


def test_poses_from_even_and_odd_tilts_agree(scene, rng):
    cube, images, true, shifts, n_used = scene
    turn, moved = split_tilt_pass(images, (cube, cube), poses_at(true, shifts), n_used)
    used = HALF > 0
    assert np.isnan(turn[~used]).all()
    assert np.isnan(moved[~used]).all()
    assert 0 < np.median(turn[used]) < 4.0
    blurred = replace(images, data=images.data * 0.0)
    worse, _ = split_tilt_pass(blurred, (cube, cube), poses_at(turned(true, 3.0, rng), shifts), n_used)
    assert np.median(worse[used]) > np.median(turn[used])


def test_insertion_gives_the_reference_back(scene):
    cube, images, true, shifts, _ = scene
    halves = insert_pass(images, poses_at(true, shifts), INSERT_TO)
    for half in halves:
        sums = half.sums()
        seen = sums.weights > 0.2 * float(sums.weights.max())
        side = sums.data.shape[0] // 2
        middle, width = cube.shape[0] // 2, sums.data.shape[2]
        # The sums have the padding of the reference's cube.
        small = cube[middle - side : middle + side + 1, middle - side : middle + side + 1, :width]
        ratio = (sums.data * small.conj()).real[seen].sum() / (sums.weights * small.abs() ** 2)[seen].sum()
        assert float(ratio) == pytest.approx(1.0, abs=0.1)
    wrong = insert_pass(images, poses_at(np.roll(true, 1, axis=0), shifts), INSERT_TO)[0]
    right = torch.view_as_real(halves[0].data)
    assert float((torch.view_as_real(wrong.data) - right).square().sum()) > 0.2 * float(right.square().sum())
