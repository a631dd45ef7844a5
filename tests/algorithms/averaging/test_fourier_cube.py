"""Slices of a map are projections of it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.fourier_cube import PADDING, cube_of_map
from cryoloom.algorithms.averaging.half_plane import HalfPlane
from cryoloom.algorithms.averaging.maps import joined_below, low_pass, map_on_grid
from cryoloom.kernels.slices.fourier_slices import take_slices


def gaussians(n, rng, width=1.4):
    """A map of Gaussian balls, and its Fourier transform at any frequency."""
    places = rng.normal(0, n / 12, (12, 3))
    z, y, x = np.mgrid[:n, :n, :n] - n // 2
    grid = np.stack([x, y, z], -1).reshape(-1, 1, 3)
    density = np.exp(-((grid - places) ** 2).sum(-1) / (2 * width**2)).sum(1).reshape(n, n, n)

    def transform(k):
        envelope = (2 * np.pi * width**2) ** 1.5 * np.exp(-2 * np.pi**2 * width**2 * (k**2).sum(-1))
        return envelope * np.exp(-2j * np.pi * k @ places.T).sum(-1)

    return torch.tensor(density, dtype=torch.float32), transform


def test_slices_are_the_transform_of_the_map(rng):
    n = 32
    density, transform = gaussians(n, rng)
    plane = HalfPlane.of_box(n, 1.0)
    cube = cube_of_map(density, float(plane.radius[-1]))
    rotations = Rotation.random(3, rng).as_matrix()
    frames = torch.tensor(PADDING * rotations[:, :2], dtype=torch.float32).contiguous()
    found = take_slices(cube, frames, plane.samples).numpy()
    exact = transform(np.einsum("ma,nab->nmb", plane.kxy / n, rotations[:, :2]))
    # Linear interpolation at padding 2 is good to 2 % of the strongest for a map that fills 2/3 of its box.
    assert_allclose(found, exact, atol=0.02 * np.abs(exact).max())


def test_a_half_plane_counts_each_pair_once():
    plane = HalfPlane.of_box(16, 2.0)
    pairs = {tuple(k) for k in plane.kxy.tolist()}
    assert len(pairs) == len(plane.kxy)
    assert not any((-kx, -ky) in pairs for kx, ky in pairs)
    assert (np.diff(plane.radius) >= -1e-9).all()
    assert plane.n_within(2 * 16 / 4) == np.count_nonzero(plane.radius <= 4)


def test_a_map_keeps_its_centre_on_another_grid(rng):
    density, _ = gaussians(32, rng, width=3.0)
    moved = map_on_grid(density, 2.0, 20, 3.2)
    x = np.arange(20) - 10
    back = map_on_grid(moved, 3.2, 32, 2.0)
    inner = (slice(8, 24),) * 3
    # Cubic splines of a blob three voxels wide, sampled at 1.6 voxels.
    assert_allclose(back[inner], density[inner], atol=0.02 * float(density.max()))
    assert abs(float((moved * torch.tensor(x)).sum() / moved.sum()) * 1.6) < 3.0


def test_a_low_pass_leaves_its_band_whole(rng):
    density = torch.tensor(rng.normal(size=(24, 24, 24)), dtype=torch.float32)
    filtered = low_pass(density, 2.0, 8.0)
    k = np.fft.fftfreq(24, 2.0)
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None] ** 2)
    before, after = np.fft.fftn(density.numpy()), np.fft.fftn(filtered.numpy())
    assert_allclose(after[radius <= 1 / 8], before[radius <= 1 / 8], atol=1e-3)
    assert np.abs(after[radius > 1 / 8 + 2 / 48]).max() < 1e-3
    first, second = joined_below([density, 2 * density], 2.0, 8.0)
    # The edge of a low-pass is two shells wide: one at 12 A has ended at 8 A.
    assert_allclose(low_pass(first - second, 2.0, 12.0), 0.0, atol=1e-5)
