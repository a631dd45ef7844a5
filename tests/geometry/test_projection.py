from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.geometry.frames import binned_shape, index_from_position, position_from_index
from cryoloom.geometry.projection import angles_of_projection, beam_coordinate, project, projection_matrices
from cryoloom.geometry.rotations import (
    euler_zyz_deg,
    matrix_from_euler_zyz_deg,
    rotation_x,
    rotation_y,
    rotation_z,
)


def test_a_positive_tilt_lowers_the_right_side_of_the_specimen():
    """Ry: x' = x cos + z sin, w = -x sin + z cos."""
    matrices = projection_matrices(0.0, [30.0])
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    points = [[100.0, 20.0, 0.0], [0.0, 0.0, 100.0]]
    assert_allclose(project(points, matrices, [[0.0, 0.0]])[0], [[100 * cos, 20], [100 * sin, 0]], atol=1e-9)
    assert_allclose(beam_coordinate(points, matrices)[0], [-100 * sin, 100 * cos], atol=1e-9)


def test_points_on_the_axis_do_not_move_and_the_axis_turns_counter_clockwise():
    tilts = np.arange(-60, 61, 10.0)
    on_axis = [[0.0, 50.0, 0.0]]  # the specimen's y is the tilt axis
    images = project(on_axis, projection_matrices(85.0, tilts), np.zeros((len(tilts), 2)))
    angle = np.deg2rad(85.0)
    assert_allclose(images[:, 0], np.tile([-50 * np.sin(angle), 50 * np.cos(angle)], (len(tilts), 1)))


def test_shift_is_added_last():
    assert_allclose(
        project([[0.0, 0.0, 0.0]], projection_matrices(12.0, [40.0]), [[7.0, -3.0]])[0], [[7, -3]]
    )


@pytest.mark.parametrize(
    ("rotation", "point", "expected"),
    [
        (rotation_x, (0, 1, 0), (0, 0, 1)),
        (rotation_y, (0, 0, 1), (1, 0, 0)),
        (rotation_z, (1, 0, 0), (0, 1, 0)),
    ],
)
def test_rotations_are_right_handed(rotation, point, expected):
    assert_allclose(rotation(90.0) @ point, expected, atol=1e-12)


def test_euler_angles_come_back(rng):
    angles = rng.uniform([-180, 1, -180], [180, 179, 180], (100, 3))
    assert_allclose(euler_zyz_deg(matrix_from_euler_zyz_deg(*angles.T)), angles, atol=1e-8)


@pytest.mark.parametrize("tilt", [0.0, 180.0])
def test_euler_angles_at_the_poles_give_the_same_matrix(tilt):
    matrix = matrix_from_euler_zyz_deg(37.0, tilt, 11.0)
    assert_allclose(matrix_from_euler_zyz_deg(*euler_zyz_deg(matrix)), matrix, atol=1e-9)


@pytest.mark.parametrize("shape", [(10, 20, 30), (11, 21, 31)])
def test_positions_come_back_and_the_centre_is_zero(shape, rng):
    index = rng.uniform(0, 9, (5, 3))
    assert_allclose(index_from_position(position_from_index(index, shape, 3.1), shape, 3.1), index)
    assert_allclose(position_from_index([n // 2 for n in shape], shape, 3.1), (0, 0, 0))


def test_positions_are_in_xyz_order():
    assert_allclose(position_from_index((5, 10, 16), (10, 20, 30), 2.0), (2, 0, 0))


def test_binned_shapes_are_even():
    assert binned_shape((4092, 5760), 4) == (1024, 1440)
    assert binned_shape((3838, 3710), 3) == (1280, 1236)


def test_angles_come_back_from_their_matrix(rng):
    axis, tilt, x_tilt = rng.uniform(-180, 180, 20), rng.uniform(-89, 89, 20), rng.uniform(-170, 170, 20)
    found = angles_of_projection(projection_matrices(axis, tilt, x_tilt))
    np.testing.assert_allclose(found, (axis, tilt, x_tilt), atol=1e-9)
