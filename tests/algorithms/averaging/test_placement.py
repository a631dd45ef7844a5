"""Copies of a map keep its values, at any voxel size."""

from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.averaging.placement import place_map
from cryoloom.geometry.rotations import rotation_z


def test_an_unturned_copy_is_the_map(rng):
    density = torch.tensor(rng.normal(size=(8, 8, 8)), dtype=torch.float32)
    volume = np.zeros((20, 21, 22), np.float32)
    # Index (9, 8, 12) of a volume whose centre is (10, 10, 11).
    place_map(density, 4.0, np.array([[4.0, -8.0, -4.0]]), np.eye(3)[None], volume, 4.0, 12.0)
    assert_allclose(volume[9, 8, 12], density[4, 4, 4], rtol=1e-4)
    assert_allclose(volume[10, 9, 13], density[5, 5, 5], rtol=1e-4)
    assert np.count_nonzero(volume) <= 123  # a ball of three voxels


def test_a_turned_copy_points_where_the_rotation_takes_it():
    density = torch.zeros((9, 9, 9))
    density[4, 4, 7] = 1.0  # along +x
    volume = np.zeros((15, 15, 15), np.float32)
    place_map(density, 5.0, np.zeros((1, 3)), rotation_z(90.0)[None], volume, 5.0, 20.0)
    # A quarter turn about z takes +x to +y.
    assert np.unravel_index(volume.argmax(), volume.shape) == (7, 10, 7)
    again = volume.copy()
    place_map(density, 5.0, np.zeros((1, 3)), rotation_z(90.0)[None], volume, 5.0, 20.0)
    assert_allclose(volume, again)
