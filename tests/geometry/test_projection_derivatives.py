"""Derivatives of projected positions beside differences of the projection itself."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.geometry.projection import projection_matrices
from cryoloom.geometry.projection_derivatives import angle_derivatives, derivative_by_axis
from cryoloom.geometry.rotations import rotation_x, rotation_y, rotation_z

POINTS = np.array([[300.0, -200.0, 150.0], [-50.0, 400.0, -80.0], [10.0, 20.0, 500.0]])
ANGLES = {"axis": 84.0, "tilt": -37.0, "x_tilt": 3.0, "beam_tilt": 1.5}


def positions(angles):
    turn = rotation_z(angles["axis"]) @ rotation_x(angles["beam_tilt"])
    return (POINTS @ (turn @ rotation_y(angles["tilt"]) @ rotation_x(angles["x_tilt"])).T)[:, :2]


def numeric(name, step_deg=1e-4):
    ends = [positions(ANGLES | {name: ANGLES[name] + sign * step_deg}) for sign in (1, -1)]
    return (ends[0] - ends[1]) / (2 * np.deg2rad(step_deg))


@pytest.mark.parametrize("name", ["tilt", "x_tilt", "beam_tilt"])
def test_derivatives_are_the_limits_of_differences(name):
    made = angle_derivatives(POINTS, *ANGLES.values())
    # Positions of 500 A in double precision, over a step of 2e-6 rad.
    np.testing.assert_allclose(getattr(made, f"by_{name}"), numeric(name), atol=1e-5)


def test_the_axis_turns_positions_by_a_right_angle():
    np.testing.assert_allclose(derivative_by_axis(positions(ANGLES)), numeric("axis"), atol=1e-5)


def test_without_a_beam_tilt_the_projection_is_the_one_of_poses():
    angles = ANGLES | {"beam_tilt": 0.0}
    matrix = projection_matrices(angles["axis"], angles["tilt"], angles["x_tilt"])
    np.testing.assert_allclose(positions(angles), (POINTS @ matrix.T)[:, :2])


def test_each_point_has_its_own_tilt():
    tilts = np.array([-60.0, 0.0, 60.0])
    together = angle_derivatives(POINTS, 84.0, tilts, 3.0)
    for i, tilt in enumerate(tilts):
        alone = angle_derivatives(POINTS[i : i + 1], 84.0, tilt, 3.0)
        np.testing.assert_allclose(together.by_tilt[i], alone.by_tilt[0])
