"""Surfaces of maps: where they are, that they are closed, and which side is outside."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from cryoloom.algorithms.map_quality.surface_mesh import surface_mesh

SHAPES = [((30, 34, 38), (18.3, 15.0, 14.6)), ((33, 31, 35), (17.0, 15.0, 16.0))]


def distance_inwards(shape, centre_xyz):
    """Distance from a centre, negative, so that a level of -r is the sphere of radius r."""
    z, y, x = np.indices(shape)
    return -np.sqrt((x - centre_xyz[0]) ** 2 + (y - centre_xyz[1]) ** 2 + (z - centre_xyz[2]) ** 2)


@pytest.mark.parametrize(("shape", "centre"), SHAPES)
def test_the_surface_of_a_ball_is_a_sphere_seen_from_outside(shape, centre):
    radius = 10.4
    made = surface_mesh(distance_inwards(shape, centre), -radius)
    away = made.vertices_xyz - np.array(centre)
    # A vertex is the mean of cuts on its cell's edges: it lies inside by up to the sagitta of a cell, 1 / 8r.
    assert np.linalg.norm(away, axis=1) == pytest.approx(radius, abs=0.06)
    outward = (away * made.normals_xyz).sum(axis=1) / np.linalg.norm(away, axis=1)
    assert outward.min() > 0.97
    a, b, c = (made.vertices_xyz[made.triangles[:, i]].astype(float) for i in range(3))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6  # of tetrahedra from the origin, signed
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.015)  # 3 times the sagitta


def test_a_surface_is_closed_where_it_leaves_the_volume(rng):
    made = surface_mesh(rng.standard_normal((9, 10, 11)), 0.2)
    edges = Counter()
    for triangle in made.triangles.tolist():
        for one, two in zip(triangle, (*triangle[1:], triangle[0]), strict=True):
            edges[one, two] += 1
    assert all(edges[two, one] == n for (one, two), n in edges.items())


def test_a_level_that_nothing_reaches_has_no_surface():
    made = surface_mesh(np.zeros((4, 4, 4)), 1.0)
    assert made.vertices_xyz.shape == made.normals_xyz.shape == made.triangles.shape == (0, 3)
