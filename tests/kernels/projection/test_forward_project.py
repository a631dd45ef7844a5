"""Forward projection against the sum written out, and as the way back from back-projection."""

import numpy as np
import pytest
import torch

from cryoloom.kernels.projection.forward_project import forward_project, own_taps
from cryoloom.kernels.projection.forward_project_torch import forward_project_torch, own_taps_torch
from cryoloom.kernels.projection.project import add_back_projection
from cryoloom.kernels.vector.code import ROWS

TILT = np.deg2rad([-60.0, -5.0, 0.0, 33.0])


def lines(tilt, shape, n_u):
    """Columns of voxels and rays of columns about the centres."""
    cos, sin, (n_z, n_x) = np.cos(tilt), np.sin(tilt), shape
    columns = np.stack([n_u // 2 - cos * (n_x // 2) - sin * (n_z // 2), cos, sin], axis=1)
    # u = u0 + x cos + z sin, solved for x.
    rays = np.stack([-columns[:, 0] / cos, 1 / cos, -sin / cos], axis=1)
    return columns.astype(np.float32), rays.astype(np.float32)


def written_out(volume, rays, n_u):
    n_z, n_x, n_rows = volume.shape
    images = np.zeros((len(rays), n_u, n_rows))
    for image, (x0, xu, xz) in zip(images, rays, strict=True):
        for u in range(n_u):
            x = x0 + xu * u + xz * np.arange(n_z)
            for z in np.flatnonzero((x >= 0) & (x <= n_x - 1)):
                left = min(int(x[z]), n_x - 2)
                right = x[z] - left
                image[u] += (1 - right) * volume[z, left] + right * volume[z, left + 1]
    return images


@pytest.mark.parametrize(("shape", "n_u"), [((8, 16), 16), ((17, 15), 81), ((1, 3), 3)])
@pytest.mark.parametrize("project", [forward_project, forward_project_torch])
def test_is_the_interpolated_sum_along_the_rays(shape, n_u, rng, project):
    volume = rng.standard_normal((*shape, ROWS)).astype(np.float32)
    volume[:, [0, -1]] = 0
    rays = lines(TILT, shape, n_u)[1]
    images = torch.full((4, n_u, ROWS), torch.nan)
    project(torch.from_numpy(volume), torch.from_numpy(rays), images)
    np.testing.assert_allclose(images, written_out(volume, rays, n_u), atol=1e-4)


@pytest.mark.parametrize("taps_of", [own_taps, own_taps_torch])
def test_the_taps_are_what_an_image_gives_itself(rng, taps_of):
    shape, n_u = (24, 61), 64
    columns, rays = lines(TILT, shape, n_u)
    scale = rng.uniform(0, 1, shape).astype(np.float32)
    scale[:, [0, -1]] = 0
    taps = taps_of(*(torch.from_numpy(a) for a in (scale, rays, columns)), n_u).numpy()
    image = rng.standard_normal((1, n_u, ROWS)).astype(np.float32)
    image[:, [0, -1]] = 0
    wide = np.pad(image[0], ((1, 1), (0, 0)))
    for k in range(len(TILT)):
        volume = torch.zeros((*shape, ROWS))
        add_back_projection(
            torch.from_numpy(image), torch.from_numpy(columns[[k]]), torch.from_numpy(scale), volume
        )
        sums = torch.empty((1, n_u, ROWS))
        forward_project(volume, torch.from_numpy(rays[[k]]), sums)
        again = sums.numpy()
        expected = sum(taps[k, :, j : j + 1] * wide[j : j + n_u] for j in range(3))
        np.testing.assert_allclose(again[0], expected, atol=2e-4 * np.abs(again).max())


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="32 rows"):
        forward_project(torch.zeros((2, 4, 5)), torch.zeros((1, 3)), torch.zeros((1, 4, 5)))
