"""Closed and open surfaces, even sampling, meshes, snapping to density, filaments."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.picking.ellipsoids import Ellipsoid, distance_to_ellipsoid
from cryoloom.algorithms.picking.surface_sampling import open_mesh, sample_open
from cryoloom.algorithms.picking.surfaces import fit_closed_surface, fit_open_surface
from cryoloom.errors import DataUnfitError
from cryoloom.geometry.orientation_grid import even_directions

TRUE = Ellipsoid(np.array([30.0, 0.0, -20.0]), np.array([560.0, 520.0, 470.0]), np.eye(3))


def test_a_closed_surface_follows_its_points(rng):
    points = TRUE.point(even_directions(60)) + rng.normal(0, 6, (60, 3))
    surface = fit_closed_surface(points)
    toward = even_directions(300)
    assert np.sqrt((distance_to_ellipsoid(TRUE, surface.point(toward)) ** 2).mean()) < 9
    there = TRUE.normal(TRUE.toward(surface.point(toward)))
    cosine = (surface.normal(toward) * there).sum(axis=1)
    assert np.rad2deg(np.arccos(np.clip(cosine, -1, 1))).mean() < 4
    again = fit_closed_surface(points[rng.permutation(60)])
    assert_allclose(again.coefficients, surface.coefficients, atol=1e-8)


def test_few_noisy_points_give_a_round_surface(rng):
    surface = fit_closed_surface(500 * even_directions(8) + rng.normal(0, 10, (8, 3)))
    assert_allclose(np.linalg.norm(surface.point(even_directions(50)), axis=1), 500, rtol=0.06)


def test_an_open_surface_follows_its_points_and_faces_outside(rng):
    uv = rng.uniform(-500, 500, (60, 2))
    points = np.column_stack([uv, 60 * np.sin(uv[:, 0] / 250) + rng.normal(0, 4, 60)])
    surface = fit_open_surface(points)
    places = sample_open(surface, 60.0, rng)
    off = places.positions_xyz_angstrom[:, 2] - 60 * np.sin(places.positions_xyz_angstrom[:, 0] / 250)
    assert off.std() < 6
    assert (places.normals[:, 2] > 0.9).all()
    assert places.spacing_deviation() < 0.15  # at the rim places have neighbours on one side only
    turned_over = fit_open_surface(points, [0, 0, -1000])
    assert (sample_open(turned_over, 60.0, rng).normals[:, 2] < -0.9).all()
    vertices, triangles = open_mesh(surface, 80.0, 10_000)
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).mean() > 0.99


def test_what_is_no_surface_is_refused():
    line = np.column_stack([np.arange(8.0), np.zeros(8), np.zeros(8)])
    with pytest.raises(DataUnfitError, match="lie on a line"):
        fit_open_surface(line)
    with pytest.raises(DataUnfitError, match="5 different points"):
        fit_open_surface(even_directions(5))
    with pytest.raises(DataUnfitError, match="at the centre"):
        fit_closed_surface(np.append(100 * even_directions(9), [[0, 0, 0]], axis=0), [0, 0, 0])
