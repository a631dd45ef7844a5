"""The tilt axis in the image, against the projection of specimen points."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.geometry.depth import depth_behind
from cryoloom.geometry.projection import projection_matrices
from cryoloom.geometry.tilt_axis import (
    across_axis,
    along_axis,
    axis_lies_along_x,
    column_slopes,
    field_across_and_along,
    image_from_aligned,
)

AXES = [0.0, 30.0, 85.3, -95.0, 180.0]


@pytest.mark.parametrize("axis", AXES)
def test_directions_are_where_the_specimens_axes_are_seen(axis):
    seen = projection_matrices(axis, 0.0)
    np.testing.assert_allclose(across_axis(axis), seen[:2, 0], atol=1e-12)
    np.testing.assert_allclose(along_axis(axis), seen[:2, 1], atol=1e-12)
    np.testing.assert_allclose(across_axis([axis, axis]), np.tile(seen[:2, 0], (2, 1)), atol=1e-12)


@pytest.mark.parametrize(
    ("axis", "lies_along_x"), [(0.0, False), (85.0, True), (-95.0, True), (170.0, False)]
)
def test_sides_are_exchanged_where_the_axis_lies_along_x(axis, lies_along_x):
    assert axis_lies_along_x(axis) is lies_along_x


def test_extents_of_a_field():
    np.testing.assert_allclose(field_across_and_along(0.0, 400, 300), (400, 300))
    np.testing.assert_allclose(field_across_and_along(90.0, 400, 300), (300, 400))
    np.testing.assert_allclose(field_across_and_along(-45.0, 400, 300), np.full(2, 700 / 2**0.5))


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(("tilt", "x_tilt"), [(0, 0), (50, 0), (-37, 4), (12, -7)])
def test_aligned_places_and_depths_are_those_of_the_projection(axis, tilt, x_tilt, rng):
    x, y, z = rng.normal(0, 500, 3)
    per_x, per_z = column_slopes(tilt, x_tilt)
    u, v = per_x * x + per_z * z, y - z * np.tan(np.deg2rad(x_tilt))
    projected = projection_matrices(axis, tilt, x_tilt) @ (x, y, z)
    np.testing.assert_allclose(image_from_aligned(axis, tilt, x_tilt) @ (u, v), projected[:2], atol=1e-9)
    np.testing.assert_allclose(depth_behind(tilt, x_tilt, u, v, z), projected[2], atol=1e-9)
