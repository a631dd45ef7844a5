"""Maps on other grids, low-passed and joined: lumps and waves whose fate is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.averaging.fourier_cube import cube_frequency
from cryoloom.algorithms.averaging.maps import joined_below, low_pass, map_on_grid, radial_cube
from cryoloom.kernels.slices.fourier_slices import cube_shape


def lump(n, voxel, place_xyz, width):
    at = (np.arange(n) - n // 2) * voxel
    z, y, x = np.meshgrid(at, at, at, indexing="ij")
    squared = (x - place_xyz[0]) ** 2 + (y - place_xyz[1]) ** 2 + (z - place_xyz[2]) ** 2
    return np.exp(-squared / (2 * width**2)).astype(np.float32)


@pytest.mark.parametrize(("n", "voxel"), [(20, 6.0), (41, 2.5)])
def test_a_lump_keeps_its_place_on_another_grid(n, voxel):
    place = (12.0, -8.0, 4.0)
    moved = map_on_grid(lump(32, 4.0, place, 14.0), 4.0, n, voxel)
    assert_allclose(moved, lump(n, voxel, place, 14.0), atol=0.03)


def wave(n, k):
    x = np.arange(n)
    return torch.tensor(np.broadcast_to(np.cos(2 * np.pi * k * x / n), (n, n, n)).copy(), dtype=torch.float32)


def test_waves_below_the_resolution_pass_and_those_beyond_do_not():
    # A box of 64 A: shell 8 is 8 A.
    low, high = wave(32, 6), wave(32, 12)
    assert_allclose(low_pass(low + high, 2.0, 8.0), low, atol=1e-5)


def test_halves_are_joined_below_a_resolution_and_their_own_beyond():
    first, second = joined_below([wave(32, 3) + wave(32, 12), torch.zeros((32, 32, 32))], 2.0, 8.0)
    assert_allclose(first, 0.5 * wave(32, 3) + wave(32, 12), atol=1e-5)
    assert_allclose(second, 0.5 * wave(32, 3), atol=1e-5)


def test_a_radial_cube_is_left_as_it_is_and_a_lopsided_one_becomes_its_mean():
    shape = cube_shape(12.0)
    radius = cube_frequency(shape)
    radial = torch.exp(-((radius / 6.0) ** 2)).to(torch.complex64)
    assert_allclose(radial_cube(radial).real, radial.real, atol=0.03)
    half = shape[0] // 2
    lopsided = radial.clone()
    lopsided[half + 1 :] *= 2.0
    lopsided[:half] *= 0.0
    mean = radial_cube(lopsided).real
    # The half above the plane z = 0 is doubled, the one below is gone, and the plane is as before.
    assert_allclose(mean, radial.real, atol=0.05)
    assert float(mean.max()) <= 1.001 * float(lopsided.real.max())
