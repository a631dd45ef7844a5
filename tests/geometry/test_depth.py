"""Depth of a plane over the image."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.geometry.depth import defocus_change, opposite_hand, plane_depth
from cryoloom.geometry.projection import beam_coordinate, project, projection_matrices


@pytest.mark.parametrize("slopes", [(0.0, 0.0), (0.2, -0.07)])
@pytest.mark.parametrize(
    ("axis", "tilt", "x_tilt", "z"), [(0, 40, 0, 0), (85, -55, 4, 300), (-95, 20, -8, -70)]
)
def test_is_the_beam_coordinate_of_points_of_the_plane(rng, axis, tilt, x_tilt, z, slopes):
    matrix = projection_matrices(axis, tilt, x_tilt)
    xy = rng.uniform(-2000, 2000, (50, 2))
    points = np.column_stack([xy, z + xy @ slopes])
    seen = project(points, matrix[None], np.zeros((1, 2)))[0]
    at_origin, per_x, per_y = plane_depth(matrix, z, *slopes)
    expected = beam_coordinate(points, matrix[None])[0]
    np.testing.assert_allclose(at_origin + seen @ [per_x, per_y], expected, atol=1e-9 * 4000)


def test_of_an_upright_axis_is_minus_tan_tilt():
    assert plane_depth(projection_matrices(0, 30, 0)) == pytest.approx((0, -np.tan(np.deg2rad(30)), 0))


def test_the_defocus_falls_along_the_beam_where_the_hand_is_positive():
    np.testing.assert_allclose(defocus_change([100.0, -40.0], 1), [-100.0, 40.0])
    np.testing.assert_allclose(defocus_change([100.0, -40.0], -1), [100.0, -40.0])
    assert defocus_change(250.0, 0) == 0


def test_the_opposite_hand_changes_the_defocus_the_other_way():
    assert float(defocus_change(300.0, opposite_hand(1.0))) == 300.0 == -float(defocus_change(300.0, 1.0))
    assert opposite_hand(0) == 0
