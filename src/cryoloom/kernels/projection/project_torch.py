"""Projection of a strip and its transpose in torch: gathers of whole rows, for CUDA.

Nothing is scattered, so sums are made in one order: a column of an image gathers from every height the two to
four voxels whose shadow reaches it, and a voxel the two columns of an image next to it.
"""

from __future__ import annotations

import math

import torch

__all__ = ["add_back_projection_torch", "project_torch"]

_HEIGHTS = 256
"""Heights gathered at a time, which bounds the memory."""


def project_torch(volume: torch.Tensor, columns: torch.Tensor, images: torch.Tensor) -> None:
    """See `cryoloom.kernels.projection.project.project`."""
    n_z, n_x, _ = volume.shape
    n_columns = images.shape[1]
    inner = torch.arange(1, n_columns - 1, device=volume.device, dtype=torch.float32)[:, None]
    images.zero_()
    for image, (u0, ux, uz) in zip(images, columns.tolist(), strict=True):
        for start in range(0, n_z, _HEIGHTS):
            slab = volume[start : start + _HEIGHTS]
            lines = torch.arange(len(slab), device=volume.device)
            at_x_0 = u0 + uz * (start + lines).to(torch.float32)
            begin = torch.floor((inner - 1 - at_x_0) / ux)
            for tap in range(math.ceil(2 / ux - 1e-4)):
                x = begin + (1 + tap)
                weight = (1 - (at_x_0 + ux * x - inner).abs()).clamp(min=0)
                weight = torch.where((x >= 0) & (x <= n_x - 1), weight, 0.0)
                seen = slab[lines, x.clamp(0, n_x - 1).to(torch.int64)]
                image[1:-1] += torch.einsum("cz,czr->cr", weight, seen)


def add_back_projection_torch(
    images: torch.Tensor, columns: torch.Tensor, scale: torch.Tensor, volume: torch.Tensor
) -> None:
    """See `cryoloom.kernels.projection.project.add_back_projection`."""
    n_z, n_x, _ = volume.shape
    n_columns = images.shape[1]
    x = torch.arange(n_x, device=volume.device, dtype=torch.float32)[None]
    for start in range(0, n_z, _HEIGHTS):
        slab = volume[start : start + _HEIGHTS]
        z = torch.arange(start, start + len(slab), device=volume.device, dtype=torch.float32)[:, None]
        total = torch.zeros_like(slab)
        for image, (u0, ux, uz) in zip(images, columns.tolist(), strict=True):
            u = (u0 + ux * x + uz * z).clamp(0, n_columns - 1)
            left = u.to(torch.int64).clamp(max=n_columns - 2)
            right = (u - left)[..., None]
            total += torch.lerp(image[left], image[left + 1], right)
        slab += scale[start : start + _HEIGHTS, :, None] * total
