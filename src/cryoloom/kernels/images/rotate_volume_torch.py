"""A volume at many rotations in torch, on any device: gathers of the eight voxels about each position."""

from __future__ import annotations

import itertools

import torch

__all__ = ["rotate_volume_torch"]


def rotate_volume_torch(
    samples: torch.Tensor,
    rotations: torch.Tensor,
    samples_per_voxel: float,
    out: torch.Tensor,
    reach_voxels: float,
) -> None:
    """See `cryoloom.kernels.images.rotate_volume.rotate_volume`."""
    side, n = samples.shape[0], out.shape[1]
    at = torch.arange(n, dtype=torch.float64, device=out.device) - n // 2
    z, y, x = torch.meshgrid(at, at, at, indexing="ij")
    inside = x**2 + y**2 + z**2 <= reach_voxels**2
    grid = torch.stack([x, y, z])[:, inside]
    flat = samples.reshape(-1)
    for rotation, turned in zip(rotations, out, strict=True):
        # Reference coordinates are R^T (x, y, z).
        position = samples_per_voxel * (rotation.T @ grid) + side // 2
        corner = position.floor()
        known = ((corner >= 0) & (corner < side - 1)).all(dim=0)
        part = (position - corner).float()
        corner = corner.long().clamp(0, side - 2)
        value = torch.zeros(position.shape[1], device=out.device)
        for step_x, step_y, step_z in itertools.product((0, 1), repeat=3):
            share = torch.ones_like(value)
            for along, step in zip(part, (step_x, step_y, step_z), strict=True):
                share = share * (along if step else 1 - along)
            index = ((corner[2] + step_z) * side + corner[1] + step_y) * side + corner[0] + step_x
            value += share * flat[index]
        turned.zero_()
        turned[inside] = value * known
