"""Sum of images at the projections of every point of a grid: where a small object lies in space.

One signature, numba on the CPU and torch elsewhere. Unlike the back-projection of a tomogram it needs neither
aligned images nor voxels of their pixel: the grid is as coarse as the object.
"""

from __future__ import annotations

import torch

from cryoloom.kernels.projection.sum_on_grid_cpu import sum_on_grid_numba
from cryoloom.kernels.projection.sum_on_grid_torch import sum_on_grid_torch
from cryoloom.kernels.tensors import on_cpu

__all__ = ["sum_on_grid"]


def sum_on_grid(
    images: torch.Tensor, places: torch.Tensor, shape_zyx: tuple[int, int, int], inset_px: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums of the images, interpolated linearly, at the points of a grid, and in how many images each lies.

    images   : (view, y, x) float32.
    places   : (view, 2, 4) float64 in the CPU's memory, the column and row of grid point (z, y, x) being
               ``places @ (1, x, y, z)`` in pixels from the first.
    inset_px : border of the images that does not count, at least 0.
    Returns two float32 tensors (z, y, x) on the images' device.
    """
    if images.dtype != torch.float32 or tuple(places.shape) != (len(images), 2, 4):
        raise ValueError(
            f"expected float32 images and places ({len(images)}, 2, 4), got {images.dtype} and "
            f"{tuple(places.shape)}"
        )
    if not on_cpu(images):
        return sum_on_grid_torch(images, places, shape_zyx, inset_px)
    total, count = torch.zeros(shape_zyx), torch.zeros(shape_zyx)
    sum_on_grid_numba(
        images.contiguous().numpy(), places.contiguous().numpy(), inset_px, total.numpy(), count.numpy()
    )
    return total, count
