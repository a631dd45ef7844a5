"""Sum of images at the points of a grid in torch, on any device."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

__all__ = ["sum_on_grid_torch"]


def sum_on_grid_torch(
    images: torch.Tensor, places: torch.Tensor, shape_zyx: tuple[int, int, int], inset_px: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """See `cryoloom.kernels.projection.sum_on_grid.sum_on_grid`."""
    size = torch.tensor([images.shape[2], images.shape[1]], device=images.device)
    total, count = (torch.zeros(shape_zyx, device=images.device) for _ in range(2))
    ticks = [torch.arange(n, device=images.device, dtype=torch.float32) for n in shape_zyx]
    z, y, x = torch.meshgrid(*ticks, indexing="ij")
    for view, place in enumerate(places.to(total)):
        where = torch.stack(
            [line[0] + x * line[1] + y * line[2] + z * line[3] for line in place], dim=-1
        )  # (z, y, x, 2) as (column, row)
        inside = ((where >= inset_px) & (where <= size - 1 - inset_px)).all(dim=-1)
        scaled = (2 * where + 1) / size - 1
        sampled = functional.grid_sample(
            images[None, view : view + 1], scaled.reshape(1, 1, -1, 2), align_corners=False
        )
        total += sampled.reshape(shape_zyx) * inside
        count += inside
    return total, count
