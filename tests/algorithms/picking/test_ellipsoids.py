"""Spheres and ellipsoids through points: exact ones, noisy ones, outliers, and how sure they are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cryoloom.algorithms.picking.ellipsoids import (
    Ellipsoid,
    distance_to_ellipsoid,
    fit_ellipsoid,
    fit_sphere,
)
from cryoloom.errors import DataUnfitError
from cryoloom.geometry.orientation_grid import even_directions, rotation_grid

TRUE = Ellipsoid(np.array([100.0, -250.0, 40.0]), np.array([610.0, 540.0, 470.0]), rotation_grid(60.0)[5])


def test_distances_are_along_the_normal():
    toward = even_directions(200)
    for off in (-60.0, -1.0, 0.0, 90.0):
        places = TRUE.point(toward) + off * TRUE.normal(toward)
        assert_allclose(distance_to_ellipsoid(TRUE, places), off, atol=1e-6)
    assert_allclose(distance_to_ellipsoid(TRUE, TRUE.centre_xyz_angstrom[None]), -470.0, atol=1e-3)


def test_exact_points_give_the_surface_back():
    sphere = fit_sphere(3.0 + 500.0 * even_directions(9))
    assert_allclose(sphere.ellipsoid.half_axes_angstrom, 500.0, rtol=1e-6)
    assert_allclose(sphere.ellipsoid.centre_xyz_angstrom, 3.0, atol=1e-3)
    found = fit_ellipsoid(TRUE.point(even_directions(60)), shape_deviation=1.0).ellipsoid
    # The prior draws a little: a part in 2000.
    assert_allclose(found.half_axes_angstrom, TRUE.half_axes_angstrom, rtol=2e-3)
    assert_allclose(np.abs((found.directions * TRUE.directions).sum(axis=0)), 1.0, atol=1e-3)
    toward = even_directions(50)
    assert_allclose(found.toward(found.point(toward)), toward, atol=1e-9)


def test_the_order_of_points_does_not_matter(rng):
    points = TRUE.point(even_directions(14)) + rng.normal(0, 10, (14, 3))
    one = fit_ellipsoid(points).ellipsoid
    other = fit_ellipsoid(points[rng.permutation(14)]).ellipsoid
    assert_allclose(one.half_axes_angstrom, other.half_axes_angstrom, rtol=1e-9)


def test_points_of_something_else_do_not_count(rng):
    points = TRUE.point(even_directions(40))
    points[::8] += rng.uniform(150, 300, (5, 3))
    fit = fit_ellipsoid(points, shape_deviation=0.5)
    assert_allclose(fit.ellipsoid.half_axes_angstrom, TRUE.half_axes_angstrom, rtol=0.02)
    assert (fit.weights == 0).sum() >= 4
    assert fit.rms_angstrom < 5


def test_twelve_points_of_three_slices(rng):
    """Half axes within 3 %, normals within 5 degrees, and the deviations reported are those found."""
    errors, normals, pulls = [], [], []
    for turn in rotation_grid(80.0)[:10]:
        axes = np.sort(rng.uniform(450, 600) * np.exp(rng.normal(0, 0.025, 3)))[::-1]
        true = Ellipsoid(rng.uniform(-200, 200, 3), axes, turn)
        angle = rng.uniform(0, 2 * np.pi, 3).repeat(4) + np.tile(np.arange(4) * np.pi / 2, 3)
        height = np.repeat([-0.5, 0.0, 0.5], 4)
        ring = np.sqrt(1 - height**2)
        toward = np.column_stack([ring * np.cos(angle), ring * np.sin(angle), height])
        fit = fit_ellipsoid(true.point(toward) + rng.normal(0, 8.0, (12, 3)))
        found = fit.ellipsoid
        errors.append(np.abs(found.half_axes_angstrom / axes - 1).max())
        pulls.append((found.half_axes_angstrom - axes) / fit.half_axes_sd_angstrom)
        even = even_directions(100)
        there = found.normal(found.toward(true.point(even)))
        normals.append(np.rad2deg(np.arccos(np.clip((there * true.normal(even)).sum(axis=1), -1, 1))))
    assert np.median(errors) < 0.03
    assert np.sqrt(np.mean(np.square(normals))) < 5.0
    assert 0.4 < np.sqrt(np.mean(np.square(pulls))) < 1.4


def test_too_few_or_flat_points_are_refused():
    with pytest.raises(DataUnfitError, match="3 different points, expected 4"):
        fit_sphere(np.eye(3))
    flat = np.column_stack([even_directions(9)[:, :2], np.zeros(9)])
    with pytest.raises(DataUnfitError, match="lie in a plane"):
        fit_ellipsoid(100 * flat)
    with pytest.raises(DataUnfitError, match="not finite"):
        fit_sphere(np.full((5, 3), np.nan))


@pytest.mark.parametrize(
    "axes", [(470.0, 470.0, 470.0), (500.0, 400.0, 30.0), (3000.0, 2999.0, 2998.0), (80.0, 8.0, 8.0)]
)
def test_distances_are_those_of_a_dense_surface(axes, rng):
    """Also from inside, from the middle planes and axes, and from very far."""
    ellipsoid = Ellipsoid(np.zeros(3), np.array(axes), np.eye(3))
    points = rng.uniform(-1.5, 1.5, (200, 3)) * axes
    points[:20, 2] = 0.0
    points[20:30, 1:] = 0.0
    points[30:40] *= 100.0
    found = distance_to_ellipsoid(ellipsoid, points)
    low, high = (np.full(len(points), v) for v in (-(axes[-1] ** 2), 1e4 * axes[0] ** 2))
    y = np.maximum(np.abs(points), 1e-9 * axes[-1])
    for _ in range(200):
        t = 0.5 * (low + high)
        above = ((np.array(axes) * y / np.maximum(t[:, None] + np.square(axes), 1e-300)) ** 2).sum(axis=1) > 1
        low, high = np.where(above, t, low), np.where(above, high, t)
    foot = np.square(axes) * y / (t[:, None] + np.square(axes))
    assert_allclose(np.abs(found), np.linalg.norm(y - foot, axis=1), rtol=1e-9, atol=1e-6 * axes[-1])
    outside = ((points / np.array(axes)) ** 2).sum(axis=1) > 1
    assert_array_equal(found > 0, outside)
