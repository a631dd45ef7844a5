"""Forward projection of a strip in torch, on any device: the portable twin of `forward_project_cpu`."""

from __future__ import annotations

import torch

__all__ = ["forward_project_torch", "own_taps_torch"]

_COLUMNS = 256
"""Columns of an image gathered at a time, which bounds the memory."""


def forward_project_torch(volume: torch.Tensor, rays: torch.Tensor, images: torch.Tensor) -> None:
    """See `cryoloom.kernels.projection.forward_project.forward_project`."""
    n_z, n_x, _ = volume.shape
    height = torch.arange(n_z, device=volume.device)[:, None]
    for image, (x0, xu, xz) in zip(images, rays.tolist(), strict=True):
        for start in range(0, len(image), _COLUMNS):
            u = torch.arange(start, min(len(image), start + _COLUMNS), device=volume.device)
            x = (x0 + xz * height.to(torch.float32) + xu * u).clamp(0.0, (n_x - 1) * (1 - 1.2e-7))
            left = x.to(torch.int64).clamp(max=n_x - 2)
            share = (x - left)[..., None]
            seen = torch.lerp(volume[height, left], volume[height, left + 1], share)
            image[start : start + len(u)] = seen.sum(dim=0)


def own_taps_torch(scale: torch.Tensor, rays: torch.Tensor, columns: torch.Tensor, n_u: int) -> torch.Tensor:
    """See `cryoloom.kernels.projection.forward_project.own_taps`."""
    n_z, n_x = scale.shape
    z = torch.arange(n_z, device=scale.device, dtype=torch.float32)[:, None]
    u = torch.arange(n_u, device=scale.device, dtype=torch.float32)
    taps = torch.zeros((len(rays), n_u, 3), device=scale.device)
    for own, (x0, xu, xz), per_x in zip(taps, rays.tolist(), columns[:, 1].tolist(), strict=True):
        x = x0 + xu * u + xz * z
        inside = (x >= 0) & (x <= n_x - 1)
        left = x.clamp(0, n_x - 1).to(torch.int64).clamp(max=n_x - 2)
        right = x - left
        from_left = torch.where(inside, (1 - right) * scale.gather(1, left), 0.0)
        from_right = torch.where(inside, right * scale.gather(1, left + 1), 0.0)
        own[:, 0] = (from_left * right * per_x).sum(dim=0)
        own[:, 2] = (from_right * (1 - right) * per_x).sum(dim=0)
        both = from_left * (1 - right * per_x) + from_right * (1 - (1 - right) * per_x)
        own[:, 1] = both.sum(dim=0)
    return taps
