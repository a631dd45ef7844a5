"""Projection against the sum written out, and against its transpose."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.projection.project import add_back_projection, project
from cryoloom.kernels.projection.project_torch import add_back_projection_torch, project_torch

# What runs on CUDA runs here on the CPU as well.
PROJECT = [project, project_torch]
BOTH = [(project, add_back_projection), (project_torch, add_back_projection_torch)]


def geometry(n_columns, n_z, n_x, n_tilts=7):
    tilt = np.deg2rad(np.linspace(-66, 66, n_tilts))
    at_origin = n_columns // 2 - np.cos(tilt) * (n_x // 2) - np.sin(tilt) * (n_z // 2)
    return torch.from_numpy(np.stack([at_origin, np.cos(tilt), np.sin(tilt)], axis=1).astype(np.float32))


def written_out(volume, columns, n_columns):
    n_z, n_x, n_rows = volume.shape
    images = np.zeros((len(columns), n_columns, n_rows))
    z, x = np.mgrid[:n_z, :n_x]
    for image, (u0, ux, uz) in zip(images, columns.numpy().astype(float), strict=True):
        u = u0 + ux * x + uz * z
        for c in range(1, n_columns - 1):
            image[c] = np.einsum("zx,zxr->r", np.clip(1 - np.abs(u - c), 0, None), volume)
    return images


# More columns than any voxel needs, fewer, and heights that do not fill a block.
CASES = [(33, 40, 80), (16, 50, 30), (5, 7, 24)]


@pytest.mark.parametrize("project", PROJECT)
@pytest.mark.parametrize(("n_z", "n_x", "n_columns"), CASES)
def test_is_the_sum_along_the_beams(n_z, n_x, n_columns, rng, project):
    volume = torch.from_numpy(rng.standard_normal((n_z, n_x, 32)).astype(np.float32))
    columns = geometry(n_columns, n_z, n_x)
    images = torch.full((7, n_columns, 32), torch.nan)
    project(volume, columns, images)
    np.testing.assert_allclose(images, written_out(volume.numpy(), columns, n_columns), atol=2e-3)


@pytest.mark.parametrize(("project", "add_back_projection"), BOTH)
@pytest.mark.parametrize(("n_z", "n_x", "n_columns"), CASES)
def test_the_two_are_each_others_transpose(n_z, n_x, n_columns, rng, project, add_back_projection):
    volume = torch.from_numpy(rng.standard_normal((n_z, n_x, 32)).astype(np.float32))
    images = torch.from_numpy(rng.standard_normal((7, n_columns, 32)).astype(np.float32))
    images[:, 0] = images[:, -1] = 0
    columns = geometry(n_columns, n_z, n_x)
    projected, back = torch.empty_like(images), torch.zeros_like(volume)
    project(volume, columns, projected)
    add_back_projection(images, columns, torch.ones((n_z, n_x)), back)
    forward = float((projected.double() * images).sum())
    assert float((back.double() * volume).sum()) == pytest.approx(
        forward, abs=1e-5 * float(projected.norm() * images.norm())
    )


@pytest.mark.parametrize("add_back_projection", [add_back_projection, add_back_projection_torch])
def test_back_projection_is_scaled_and_added(rng, add_back_projection):
    images = torch.from_numpy(rng.standard_normal((7, 60, 32)).astype(np.float32))
    images[:, 0] = images[:, -1] = 0
    columns = geometry(60, 9, 30)
    scale = torch.rand((9, 30))
    once, scaled = torch.zeros((9, 30, 32)), torch.ones((9, 30, 32))
    add_back_projection(images, columns, torch.ones((9, 30)), once)
    add_back_projection(images, columns, scale, scaled)
    torch.testing.assert_close(scaled, 1 + scale[..., None] * once, atol=1e-5, rtol=1e-5)


def test_heights_in_several_parts_are_the_same(rng, monkeypatch):
    monkeypatch.setattr("cryoloom.kernels.projection.project_torch._HEIGHTS", 4)
    volume = torch.from_numpy(rng.standard_normal((11, 30, 32)).astype(np.float32))
    columns = geometry(60, 11, 30)
    images, expected = torch.empty((2, 7, 60, 32))
    project_torch(volume, columns, images)
    project(volume, columns, expected)
    torch.testing.assert_close(images, expected, atol=1e-4, rtol=1e-5)
    added = torch.zeros((2, 11, 30, 32))
    for add, target in zip((add_back_projection, add_back_projection_torch), added, strict=True):
        add(images, columns, torch.ones((11, 30)), target)
    torch.testing.assert_close(added[0], added[1], atol=1e-4, rtol=1e-5)


def test_refuses_what_it_would_misread():
    volume, images = torch.zeros((4, 8, 32)), torch.zeros((7, 20, 32))
    columns = geometry(20, 4, 8)
    with pytest.raises(ValueError, match="32 rows"):
        project(torch.zeros((4, 8, 31)), columns, images)
    with pytest.raises(TypeError, match="float32"):
        project(volume.double(), columns, images)
    steep = columns.clone()
    steep[0, 1] = 0.05
    with pytest.raises(ValueError, match="beyond 84 degrees"):
        project(volume, steep, images)
    with pytest.raises(ValueError, match="scales"):
        add_back_projection(images, columns, torch.ones((4, 9)), volume)
