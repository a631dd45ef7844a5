"""Back-projection kernels against the sum written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.projection.backproject import STRIP_ROWS, back_project, back_project_oblique
from cryoloom.kernels.projection.backproject_torch import back_project_oblique_torch, back_project_torch


def strip_case(rng, n_tilts, n_columns, shape, device="cpu"):
    """Noise images with empty outermost columns, and a geometry that also looks beyond them."""
    tilt = np.deg2rad(np.linspace(-60, 60, n_tilts))
    n_z, _, n_x = shape
    at_origin = n_columns / 2 - np.cos(tilt) * (n_x // 2) - np.sin(tilt) * (n_z // 2)
    columns = np.stack([at_origin, np.cos(tilt), np.sin(tilt)], axis=1).astype(np.float32)
    images = rng.standard_normal((n_tilts, n_columns, STRIP_ROWS)).astype(np.float32)
    images[:, 0] = images[:, -1] = 0
    return torch.from_numpy(images).to(device), torch.from_numpy(columns).to(device)


def written_out(images, columns, shape):
    images, columns = images.cpu().numpy().astype(float), columns.cpu().numpy()
    n_z, n_y, n_x = shape
    z, x = np.mgrid[:n_z, :n_x].astype(np.float32)
    total = np.zeros((n_z, n_x, images.shape[2]))
    for image, (u0, ux, uz) in zip(images, columns, strict=True):
        u = np.clip(u0 + ux * x + uz * z, 0, image.shape[0] - 1.001)
        right = (u % 1)[..., None]
        total += (1 - right) * image[u.astype(int)] + right * image[u.astype(int) + 1]
    return total.transpose(0, 2, 1)[:, :n_y]


# Whole tiles, ragged ones in every direction, and fewer rows than a strip has.
SHAPES = [(64, 32, 48), (33, 32, 41), (20, 7, 16), (1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kernel", [back_project, back_project_torch])
def test_is_the_interpolated_sum_over_tilts(shape, kernel, device, rng):
    images, columns = strip_case(rng, 5, 40, shape, device)
    volume = torch.full(shape, torch.nan, device=device)
    kernel(images, columns, volume)
    # float32 positions of 40 columns are good to 2e-6 of a column.
    np.testing.assert_allclose(volume.cpu().numpy(), written_out(images, columns, shape), atol=1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU the kernel itself is tested")
def test_triton_agrees_in_its_interpreter(rng):
    pytest.importorskip("triton", reason="triton is not installed")
    from cryoloom.kernels.projection.backproject_gpu import back_project_triton

    for shape in [(3, 32, 16), (5, 7, 11)]:
        images, columns = strip_case(rng, 4, 20, shape)
        volume = torch.full(shape, torch.nan)
        back_project_triton(images, columns, volume)
        np.testing.assert_allclose(volume.numpy(), written_out(images, columns, shape), atol=1e-4)


def test_oblique_without_drift_is_the_same(rng):
    shape = (33, 31, 41)
    images, columns = strip_case(rng, 5, 40, shape)
    straight, oblique = torch.empty(shape), torch.empty(shape)
    back_project(images, columns, straight)
    back_project_oblique(images, columns, torch.zeros((5, 2)), oblique)
    torch.testing.assert_close(oblique, straight, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", [back_project_oblique, back_project_oblique_torch])
def test_oblique_reads_rows_that_drift_with_height(kernel):
    # An image that is its row's index: a voxel sums where it looks.
    images = torch.arange(50, dtype=torch.float32).expand(3, 8, 50).contiguous()
    columns = torch.tensor([[3.0, 0.0, 0.0]] * 3)
    rows = torch.tensor([[10.0, 0.5], [10.0, 0.0], [12.25, -0.25]])
    volume = torch.empty((8, 20, 4))
    kernel(images, columns, rows, volume)
    z, y, _ = np.mgrid[:8, :20, :4]
    np.testing.assert_allclose(volume, 3 * y + 32.25 + 0.25 * z, rtol=1e-6)


def test_refuses_what_it_would_misread(rng):
    images, columns = strip_case(rng, 3, 20, (8, 32, 8))
    with pytest.raises(TypeError, match="float32"):
        back_project(images.double(), columns, torch.empty((8, 32, 8)))
    with pytest.raises(ValueError, match="do not fit"):
        back_project(images, columns[:2], torch.empty((8, 32, 8)))
    with pytest.raises(ValueError, match="at most 32 rows"):
        back_project(images, columns, torch.empty((8, 33, 8)))
    with pytest.raises(ValueError, match="contiguous"):
        back_project(images, columns, torch.empty((8, 8, 32)).transpose(1, 2))


def test_the_portable_oblique_twin_agrees(rng):
    shape = (70, 20, 17)
    images, columns = strip_case(rng, 4, 40, shape)
    rows = torch.tensor([[2.0, 0.1], [-3.5, 0.02], [8.0, -0.05], [0.0, 0.0]])
    expected, found = torch.empty(shape), torch.empty(shape)
    back_project_oblique(images, columns, rows, expected)
    back_project_oblique_torch(images, columns, rows, found)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
