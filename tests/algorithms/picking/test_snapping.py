"""Places near a membrane slide onto its density."""

from __future__ import annotations

import numpy as np

from cryoloom.algorithms.picking.ellipsoids import Ellipsoid, distance_to_ellipsoid
from cryoloom.algorithms.picking.snapping import snap_to_density
from cryoloom.algorithms.picking.surface_sampling import sample_closed

TRUE = Ellipsoid(np.array([30.0, 0.0, -20.0]), np.array([560.0, 520.0, 470.0]), np.eye(3))


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


def flat_layer(height_angstrom, voxel=10.0, n=40):
    """A dark layer at a height above the plane z = 0, and places on that plane."""
    z = (np.arange(n) - n // 2) * voxel
    volume = np.broadcast_to(-np.exp(-(((z - height_angstrom) / 15) ** 2) / 2)[:, None, None], (n, n, n))
    x, y = np.meshgrid(np.arange(-120, 121, 60.0), np.arange(-120, 121, 60.0))
    places = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
    return volume.astype(np.float32), places, np.tile([0.0, 0, 1], (x.size, 1))


def test_the_mean_stays_where_it_was_picked():
    volume, places, normals = flat_layer(25.0)
    found = snap_to_density(volume, 10.0, places, normals, reach_angstrom=50.0)
    # Every place is alike: which layer is meant is the picks' word, so nothing moves.
    assert np.abs(found.offsets_angstrom).max() < 0.5
    assert found.correlation.min() > 0.99


def test_no_place_moves_by_more_than_the_reach():
    volume, places, normals = flat_layer(0.0)
    places[:, 2] = np.where(places[:, 0] > 0, 20.0, -20.0)
    single = [
        np.abs(snap_to_density(volume, 10.0, places, normals, reach_angstrom=reach).offsets_angstrom).max()
        for reach in (5.0, 60.0)
    ]
    # Offsets are smoothed about a mean of 0, each at most the reach: twice of it apart.
    assert single[0] <= 10.0
    assert single[1] > 1.0
