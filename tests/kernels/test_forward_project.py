"""Forward projection against the sum written out, and as the transpose of back-projection."""

import numpy as np
import pytest
import torch

from cryoloom.kernels.backproject import STRIP_ROWS, back_project
from cryoloom.kernels.forward_project import forward_project


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


@pytest.mark.parametrize(("shape", "n_u"), [((8, 16, 5), 16), ((7, 15, 32), 21), ((1, 2, 1), 3)])
def test_is_the_interpolated_sum_along_the_rays(shape, n_u, rng):
    volume = rng.standard_normal(shape).astype(np.float32)
    tilt = np.deg2rad([-60.0, -5.0, 0.0, 33.0])
    slope = -np.tan(tilt)
    start = shape[1] / 2 - n_u / 2 / np.cos(tilt) - slope * (shape[0] // 2)
    rays = np.stack([start, 1 / np.cos(tilt), slope], axis=1).astype(np.float32)
    images = np.full((4, n_u, shape[2]), np.nan, np.float32)
    forward_project(volume, rays, images)
    np.testing.assert_allclose(images, written_out(volume, rays, n_u), atol=1e-4)


def test_goes_back_the_way_back_projection_came(rng):
    """A column back-projected at one tilt and projected at the same comes back where it was."""
    n_z, n_x, n_u = 40, 64, 64
    tilt = np.deg2rad(40.0)
    columns = np.array(
        [[n_u // 2 - np.cos(tilt) * (n_x // 2) - np.sin(tilt) * (n_z // 2), np.cos(tilt), np.sin(tilt)]]
    )
    image = np.zeros((1, n_u, STRIP_ROWS), np.float32)
    image[0, 37] = 1.0
    volume = torch.empty((n_z, STRIP_ROWS, n_x))
    back_project(torch.from_numpy(image), torch.from_numpy(columns.astype(np.float32)), volume)
    x_at_u_0 = n_x // 2 - (n_u // 2 - np.sin(tilt) * (n_z // 2)) / np.cos(tilt)
    rays = np.array([[x_at_u_0 - np.tan(tilt) * 0, 1 / np.cos(tilt), -np.tan(tilt)]], np.float32)
    # u = n_u // 2 + (x - n_x // 2) cos + (z - n_z // 2) sin, solved for x.
    rays[0, 0] = n_x // 2 - (n_u // 2) / np.cos(tilt) + np.tan(tilt) * (n_z // 2)
    again = np.empty_like(image)
    strip = np.ascontiguousarray(volume.numpy().transpose(0, 2, 1))
    forward_project(strip, rays, again)
    assert again[0, :, 0].argmax() == 37
    assert again[0, 37, 0] > 0.5 * n_z
