"""Places and meshes on surfaces: even, all of the surface, and facing outside."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial import cKDTree

from cryoloom.algorithms.picking.ellipsoids import Ellipsoid, distance_to_ellipsoid
from cryoloom.algorithms.picking.surface_sampling import closed_mesh, sample_closed

TRUE = Ellipsoid(np.array([30.0, 0.0, -20.0]), np.array([560.0, 520.0, 470.0]), np.eye(3))


def test_places_on_a_closed_surface_are_even(rng):
    places = sample_closed(TRUE, 70.0, rng)
    area = 4 * np.pi * (((560 * 520) ** 1.6 + (560 * 470) ** 1.6 + (520 * 470) ** 1.6) / 3) ** (1 / 1.6)
    assert_allclose(len(places.normals), area / (0.866 * 70**2), rtol=0.02)
    assert places.spacing_deviation() < 0.12
    near = cKDTree(places.positions_xyz_angstrom).query(places.positions_xyz_angstrom, k=2)[0][:, 1]
    assert near.min() > 0.5 * 70
    assert_allclose(distance_to_ellipsoid(TRUE, places.positions_xyz_angstrom), 0, atol=1e-6)
    away = places.positions_xyz_angstrom - TRUE.centre_xyz_angstrom
    assert ((away * places.normals).sum(axis=1) > 0).all()
    with pytest.raises(ValueError, match="more than 200000"):
        sample_closed(TRUE, 1.0, rng)


def test_a_closed_mesh_faces_outside():
    vertices, triangles = closed_mesh(TRUE, 60.0, 100_000)
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    assert ((normal * ((a + b + c) / 3 - TRUE.centre_xyz_angstrom)).sum(axis=1) > 0).all()
    assert_allclose(np.linalg.norm(b - a, axis=1).mean(), 60, rtol=0.15)
    assert len(triangles) == 2 * len(vertices) - 4  # Euler, of a sphere
    assert len(closed_mesh(TRUE, 5.0, 200)[1]) <= 200
