"""Even directions and rotations: how many, how even, and one of each class."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.geometry.orientation_grid import (
    even_directions,
    half_sphere_directions,
    rotation_grid,
    rotations_between,
    rotations_near,
    z_axis_to,
)
from cryoloom.geometry.rotations import rotation_x, rotation_z
from cryoloom.geometry.symmetry import symmetry_matrices


@pytest.mark.parametrize(("group", "step_deg", "n"), [("C1", 30, 550), ("C1", 15, 4401), ("O", 15, 184)])
def test_there_are_as_many_rotations_as_cubes_fill_rotation_space(group, step_deg, n):
    operators = symmetry_matrices(group)
    grid = rotation_grid(step_deg, operators)
    assert_allclose(len(grid), n, rtol=0.03)
    assert_allclose(np.linalg.det(grid), 1, atol=1e-12)
    assert_allclose(grid @ grid.transpose(0, 2, 1), np.broadcast_to(np.eye(3), grid.shape), atol=1e-12)


@pytest.mark.parametrize("group", ["C1", "C6", "O"])
def test_every_rotation_is_near_one_of_the_grid(group, rng):
    operators = symmetry_matrices(group)
    grid = rotation_grid(15.0, operators)
    anywhere = rotation_grid(70.0) @ z_axis_to(rng.standard_normal((1, 3)), 33.0)
    nearest = np.array([rotations_between(grid, one, operators).min() for one in anywhere])
    # Half the diagonal of a cube of 15 degrees is 13; the mean distance in it 7.2.
    assert nearest.max() < 14
    assert nearest.mean() < 8.5


def test_directions_are_even():
    directions = even_directions(500)
    assert_allclose(np.linalg.norm(directions, axis=1), 1)
    assert np.abs(directions.mean(axis=0)).max() < 0.01
    near = np.sort(directions @ directions.T, axis=1)[:, -2]
    apart = np.rad2deg(np.arccos(near))
    assert apart.std() < 0.1 * apart.mean()
    half = half_sphere_directions(10.0)
    assert (half[:, 2] >= 0).all()
    assert_allclose(len(half), 2 * np.pi / np.deg2rad(10) ** 2, rtol=0.02)


def test_rotations_near_are_those_within_reach():
    near = rotations_near(5.0, 10.0)
    angles = rotations_between(np.eye(3), near)
    assert_allclose(near[0], np.eye(3))
    assert angles.max() < 10.0 + 1e-6
    assert len(near) == 33  # points of a cubic lattice within two steps


def test_the_z_axis_goes_where_it_shall(rng):
    directions = np.concatenate([rng.standard_normal((20, 3)), [[0, 0, 1], [0, 0, -2]]])
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    assert_allclose(z_axis_to(directions)[:, :, 2], unit, atol=1e-12)
    assert_allclose(z_axis_to(directions, 40.0)[:, :, 2], unit, atol=1e-12)
    assert_allclose(z_axis_to(np.array([[0.0, 0, 1]]), 40.0)[0], rotation_z(40.0), atol=1e-12)


def test_angles_between_rotations_know_the_symmetry():
    one = rotation_x(20.0)
    other = one @ rotation_z(61.0)
    assert_allclose(rotations_between(one, other), 61.0)
    assert_allclose(rotations_between(one, other, symmetry_matrices("C6")), 1.0, atol=1e-6)
