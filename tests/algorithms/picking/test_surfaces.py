"""Closed and open surfaces, even sampling, meshes, snapping to density, filaments."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial import cKDTree

from cryoloom.algorithms.picking.ellipsoids import Ellipsoid, distance_to_ellipsoid
from cryoloom.algorithms.picking.filaments import fit_filament, sample_filament
from cryoloom.algorithms.picking.snapping import snap_to_density
from cryoloom.algorithms.picking.surface_sampling import closed_mesh, open_mesh, sample_closed, sample_open
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


def test_a_wrong_surface_slides_onto_the_density(rng):
    voxel, n = 14.0, 90
    at = (np.arange(n) - n // 2) * voxel
    grid = np.stack(np.meshgrid(at, at, at, indexing="ij"), axis=-1)[..., ::-1].reshape(-1, 3)
    # Near enough a distance from the surface, and 0 on it.
    stretched = (grid - TRUE.centre_xyz_angstrom) / TRUE.half_axes_angstrom
    height = 515 * (np.linalg.norm(stretched, axis=1) - 1).reshape(n, n, n)
    layers = -np.exp(-((height / 18) ** 2) / 2) - 0.6 * np.exp(-(((height - 80) / 15) ** 2) / 2)
    volume = (layers + rng.normal(0, 1.5, layers.shape)).astype(np.float32)
    moved_centre = TRUE.centre_xyz_angstrom + np.array([10, -12, 8])
    wrong = Ellipsoid(moved_centre, np.array([575.0, 510.0, 490.0]), np.eye(3))
    places = sample_closed(wrong, 80.0, rng)
    found = snap_to_density(volume, voxel, places.positions_xyz_angstrom, places.normals, reach_angstrom=60.0)
    before = distance_to_ellipsoid(TRUE, places.positions_xyz_angstrom)
    moved = places.positions_xyz_angstrom + found.offsets_angstrom[:, None] * places.normals
    assert before.std() > 10
    assert distance_to_ellipsoid(TRUE, moved).std() < 5
    assert np.median(found.correlation) > 0.8
    noise = rng.standard_normal(volume.shape).astype(np.float32)
    nothing = snap_to_density(
        noise, voxel, places.positions_xyz_angstrom, places.normals, reach_angstrom=60.0
    )
    assert np.median(nothing.correlation) < np.median(found.correlation) - 0.1


def test_a_filament_is_followed_in_any_order(rng):
    angle = np.linspace(0, 2, 25)
    true = np.column_stack([800 * np.cos(angle), 800 * np.sin(angle), 200 * angle])
    points = true + rng.normal(0, 6, true.shape)
    filament = fit_filament(points[rng.permutation(25)], deviation_angstrom=10)
    assert_allclose(filament.points_xyz_angstrom, fit_filament(points).points_xyz_angstrom, atol=1e-9)
    assert_allclose(filament.length_angstrom, 2 * np.hypot(800, 200), rtol=0.03)
    places = sample_filament(filament, 50.0, twist_deg=30.0)
    assert_allclose(np.diff(places.along_angstrom), 50.0)
    x, z = places.rotations[:, :, 0], places.rotations[:, :, 2]
    steps = np.diff(places.positions_xyz_angstrom, axis=0)
    assert ((steps / np.linalg.norm(steps, axis=1, keepdims=True) * z[1:]).sum(axis=1) > 0.98).all()
    # A curve of constant pitch carries its frame nearly along: x turns by the twist.
    turn = np.rad2deg(np.arccos(np.clip((x[1:] * x[:-1]).sum(axis=1), -1, 1)))
    assert_allclose(np.median(turn), 30.0, atol=1.5)
    straight = sample_filament(fit_filament([[0.0, 0, 0], [0, 0, 100]]), 30.0)
    assert_allclose(straight.positions_xyz_angstrom[:, 2], [5, 35, 65, 95])
    with pytest.raises(DataUnfitError, match="expected 2"):
        fit_filament([[0.0, 0, 0]])


def test_what_is_no_surface_is_refused():
    line = np.column_stack([np.arange(8.0), np.zeros(8), np.zeros(8)])
    with pytest.raises(DataUnfitError, match="lie on a line"):
        fit_open_surface(line)
    with pytest.raises(DataUnfitError, match="5 different points"):
        fit_open_surface(even_directions(5))
    with pytest.raises(DataUnfitError, match="at the centre"):
        fit_closed_surface(np.append(100 * even_directions(9), [[0, 0, 0]], axis=0), [0, 0, 0])
