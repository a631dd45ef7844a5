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
