"""Right-handed rotations, and the Euler angles that RELION writes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryoloom.geometry.rotations import (
    euler_zxz_deg,
    euler_zyz_deg,
    matrix_from_euler_zyz_deg,
    rotation_from_quaternion,
    rotation_from_vector,
    rotation_x,
    rotation_y,
    rotation_z,
    tilts_of_normal,
)


@pytest.mark.parametrize(
    ("made", "start", "end"),
    [
        (rotation_x, [0, 1, 0], [0, 0, 1]),
        (rotation_y, [0, 0, 1], [1, 0, 0]),
        (rotation_z, [1, 0, 0], [0, 1, 0]),
    ],
)
def test_a_quarter_turn_takes_each_axis_to_the_next(made, start, end):
    np.testing.assert_allclose(made(90.0) @ start, end, atol=1e-15)


@pytest.mark.parametrize(("made", "name"), [(rotation_x, "x"), (rotation_y, "y"), (rotation_z, "z")])
def test_rotations_are_scipys(made, name, rng):
    angles = rng.uniform(-180, 180, 5)
    np.testing.assert_allclose(
        made(angles), Rotation.from_euler(name, angles[:, None], degrees=True).as_matrix()
    )


def test_euler_angles_of_relion_are_intrinsic_zyz_of_the_transposed_matrix(rng):
    angles = rng.uniform([-180, 0, -180], [180, 180, 180], (50, 3))
    matrices = matrix_from_euler_zyz_deg(*angles.T)
    expected = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix().swapaxes(1, 2)
    np.testing.assert_allclose(matrices, expected, atol=1e-12)
    np.testing.assert_allclose(euler_zyz_deg(matrices), angles, atol=1e-9)


@pytest.mark.parametrize("tilt", [0.0, 180.0])
def test_at_the_poles_psi_is_zero_and_the_rotation_the_same(tilt):
    matrix = matrix_from_euler_zyz_deg(25.0, tilt, 40.0)
    rot, found, psi = euler_zyz_deg(matrix)
    assert (round(float(found), 9), float(psi)) == (tilt, 0.0)
    np.testing.assert_allclose(matrix_from_euler_zyz_deg(rot, found, psi), matrix, atol=1e-12)


def test_rotations_about_vectors_are_scipys_down_to_none(rng):
    vectors = np.concatenate([rng.normal(size=(20, 3)), np.zeros((1, 3)), 1e-9 * np.ones((1, 3))])
    np.testing.assert_allclose(
        rotation_from_vector(vectors), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12
    )


@pytest.mark.parametrize(("tilt_x", "tilt_y"), [(3.0, -12.0), (0.0, 0.0), (-20.0, 45.0)])
def test_tilts_of_a_normal_are_those_that_turned_the_plane(tilt_x, tilt_y):
    normal = (rotation_y(tilt_y) @ rotation_x(tilt_x))[:, 2]
    np.testing.assert_allclose(tilts_of_normal(normal), (tilt_x, tilt_y), atol=1e-12)


def test_zxz_angles_are_those_of_the_product(rng):
    angles = rng.uniform([-180, 0, -180], [180, 180, 180], (50, 3))
    first, tilt, last = angles.T
    product = rotation_z(last) @ rotation_x(tilt) @ rotation_z(first)
    np.testing.assert_allclose(euler_zxz_deg(product), angles, atol=1e-9)
    for pole in (0.0, 180.0):
        at_pole = rotation_z(25.0) @ rotation_x(pole) @ rotation_z(40.0)
        first, tilt, last = euler_zxz_deg(at_pole)
        assert first == 0.0
        np.testing.assert_allclose(rotation_z(last) @ rotation_x(tilt) @ rotation_z(0.0), at_pole, atol=1e-12)


def test_rotations_of_quaternions_are_scipys(rng):
    quaternions = rng.standard_normal((20, 4))
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    expected = Rotation.from_quat(quaternions).as_matrix()  # x, y, z, w
    np.testing.assert_allclose(rotation_from_quaternion(*quaternions.T), expected, atol=1e-12)
    np.testing.assert_array_equal(rotation_from_quaternion(0.0, 0.0, 0.0, 1.0), np.eye(3))
