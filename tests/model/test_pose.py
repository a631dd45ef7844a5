"""Poses: the rotation of conventions.md, and values no image has."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import Pose


def test_the_matrix_is_the_projection_of_the_conventions():
    # Rz(axis) Ry(tilt): x of the specimen turns into the image's direction across the axis, shortened.
    matrix = Pose(90.0, 60.0).matrix
    np.testing.assert_allclose(matrix @ [1, 0, 0], [0, 0.5, -np.sqrt(0.75)], atol=1e-12)
    np.testing.assert_allclose(matrix @ [0, 1, 0], [-1, 0, 0], atol=1e-12)


def test_the_magnification_is_not_in_the_matrix():
    np.testing.assert_array_equal(Pose(5.0, 20.0, magnification=1.1).matrix, Pose(5.0, 20.0).matrix)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"axis_deg": 400.0, "tilt_deg": 0.0}, "tilt axis is 400"),
        ({"axis_deg": 0.0, "tilt_deg": 91.0}, "tilt angle is 91"),
        ({"axis_deg": 0.0, "tilt_deg": 0.0, "magnification": 0.1}, "magnification is 0.1"),
        ({"axis_deg": 0.0, "tilt_deg": 0.0, "shift_xy_angstrom": (0.0, float("inf"))}, "image shift is inf"),
    ],
)
def test_what_no_image_has_is_refused(values, message):
    with pytest.raises(DataUnfitError, match=message):
        Pose(**values)
