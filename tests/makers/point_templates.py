"""Templates of a few dense points, whose rotations and power are known."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.algorithms.picking.templates import density_of_points, template_of_density

__all__ = ["VOXEL", "asymmetric", "blobs"]

VOXEL = 10.0


def blobs(places, weights, radius=60.0, voxel=VOXEL):
    """Template of a few dense points."""
    points = np.repeat(np.asarray(places, dtype=float), 5, axis=0)
    points += np.tile(np.array([[0, 0, 0], [3, 0, 0], [-3, 0, 0], [0, 3, 0], [0, -3, 0]]), (len(places), 1))
    density = density_of_points(points, np.repeat(np.asarray(weights, dtype=float), 5), 3.0)
    return template_of_density(density, 3.0, voxel_size_angstrom=voxel, radius_angstrom=radius)


@pytest.fixture
def asymmetric():
    """Points about their centre of mass."""
    places = np.array([[30.0, 0, 0], [0, 20, 25], [-15, -30, 5], [-15, 10, -30]])
    return places - places.mean(axis=0)
