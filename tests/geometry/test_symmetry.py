from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cryoloom.errors import UserInputError
from cryoloom.geometry.symmetry import (
    asymmetric_unit,
    axes_leave_no_choice,
    rotation_classes,
    symmetry_matrices,
)

# Operators that tell one setting of a group from the other; printed by RELION 3.1.3,
# relion_refine --sym <group> --print_symmetry_ops
RELION = {
    "D3": [[-0.5, 0.8660254, 0], [0.8660254, 0.5, 0], [0, 0, -1]],
    "T": [[-1, 0, 0], [0, 0.33333, 0.94281], [0, 0.94281, -0.33333]],
    "O": [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
    "I3": [[-0.44721, 0, -0.89443], [0, -1, 0], [-0.89443, 0, 0.44721]],
}
ORDERS = {"C1": 1, "c6": 6, "C12": 12, "D2": 4, "D7": 14, "T": 12, "O": 24, "I": 60, "I1": 60, "I4": 60}


@pytest.mark.parametrize(("group", "order"), ORDERS.items())
def test_a_group_is_closed_and_made_of_rotations(group, order):
    found = symmetry_matrices(group)
    assert len(found) == order
    assert_allclose(found[0], np.eye(3))
    assert_allclose(np.linalg.det(found), 1.0)
    products = (found[:, None] @ found[None]).reshape(-1, 3, 3)
    apart = np.abs(products[:, None] - found[None]).max(axis=(2, 3)).min(axis=1)
    assert apart.max() < 1e-9


@pytest.mark.parametrize(("group", "operator"), RELION.items())
def test_axes_lie_where_relion_puts_them(group, operator):
    apart = np.abs(symmetry_matrices(group) - np.array(operator)).max(axis=(1, 2))
    assert apart.min() < 1e-4  # printed with five digits


def test_icosahedral_settings_are_those_of_relion():
    def has_axis(group, order, axis):
        turn = Rotation.from_rotvec(2 * np.pi / order * np.array(axis) / np.linalg.norm(axis)).as_matrix()
        return np.abs(symmetry_matrices(group) - turn).max(axis=(1, 2)).min() < 1e-6

    # RELION's symmetries.cpp lists these axes of its settings.
    assert has_axis("I1", 5, (0.85065080702670, 0, -0.5257311142635))
    assert has_axis("I2", 5, (0.525731114, 0, 0.850650807))
    assert has_axis("I3", 5, (0, 0, 1))
    assert has_axis("I3", 2, (-0.5257311143, 0, 0.8506508070))
    assert has_axis("I4", 2, (0.5257311143, 0, 0.8506508070))
    assert not has_axis("I2", 5, (0.85065080702670, 0, -0.5257311142635))


@pytest.mark.parametrize("group", ["C1", "C6", "D3", "O"])
def test_one_rotation_of_each_class_is_in_the_asymmetric_unit(group):
    operators = symmetry_matrices(group)
    rotations = Rotation.random(200, np.random.default_rng(3)).as_matrix()
    orbits = rotations[:, None] @ operators
    kept = asymmetric_unit(orbits.reshape(-1, 3, 3), operators).reshape(200, -1)
    assert (kept.sum(axis=1) == 1).all()


@pytest.mark.parametrize("name", ["", "C0", "D", "X3", "I5", "C6v"])
def test_an_unknown_group_is_refused(name):
    with pytest.raises(UserInputError, match="point group"):
        symmetry_matrices(name)


# Turns that keep the axes of a group: of T by 90 degrees about a two-fold axis, of D4 by 45.
CHOICES = {"T": 90.0 * np.array([0.0, 2.0**0.5, 1.0]) / 3.0**0.5, "D4": [0.0, 0.0, 45.0]}


@pytest.mark.parametrize(("group", "vector_deg"), CHOICES.items())
def test_some_axes_leave_a_choice(group, vector_deg):
    operators = symmetry_matrices(group)
    turn = Rotation.from_rotvec(vector_deg, degrees=True).as_matrix()
    kept = turn @ operators @ turn.T
    assert np.abs(kept[:, None] - operators).max(axis=(2, 3)).min(axis=1).max() < 1e-9
    assert np.abs(operators - turn).max(axis=(1, 2)).min() > 0.1
    assert not axes_leave_no_choice(group)


@pytest.mark.parametrize("group", ["O", "i3"])
def test_axes_of_octahedra_and_icosahedra_leave_none(group):
    assert axes_leave_no_choice(group)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("C1", []),
        ("C6", [(6, 60, 2), (6, 120, 2), (6, 180, 1)]),
        ("D2", [(2, 180, 1), (2, 180, 1), (2, 180, 1)]),
        ("T", [(3, 120, 8), (2, 180, 3)]),
        ("O", [(4, 90, 6), (3, 120, 8), (4, 180, 3), (2, 180, 6)]),
        ("I", [(2, 180, 15), (5, 72, 12), (3, 120, 20), (5, 144, 12)]),
    ],
)
def test_classes_have_one_kind_of_axis_and_one_angle(group, expected):
    found = [
        (order, round(angle_deg), len(members))
        for order, angle_deg, members in rotation_classes(symmetry_matrices(group))
    ]
    assert sorted(found) == sorted(expected)
