"""Back-projection of one strip in torch, on any device: gathers of whole columns.

The portable twin of the vector code in `backproject_cpu`, and the way an x-tilt goes on CUDA.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

__all__ = ["back_project_oblique_torch", "back_project_torch"]

_HEIGHTS = 64
"""Heights gathered at a time, which bounds the memory."""


def back_project_torch(images: torch.Tensor, columns: torch.Tensor, volume: torch.Tensor) -> None:
    """See `cryoloom.kernels.projection.backproject.back_project`."""
    n_y = volume.shape[1]
    for start, sums, column, right in _columns_seen(images, columns, volume):
        for image, left, share in zip(images, column, right, strict=True):
            sums += torch.lerp(image[left], image[left + 1], share[..., None])
        volume[start : start + len(sums)] = sums[..., :n_y].transpose(1, 2)


def back_project_oblique_torch(
    images: torch.Tensor, columns: torch.Tensor, rows: torch.Tensor, volume: torch.Tensor
) -> None:
    """See `cryoloom.kernels.projection.backproject.back_project_oblique`."""
    n_rows, n_y = images.shape[2], volume.shape[1]
    y = torch.arange(n_y, device=volume.device)
    for start, sums, column, right in _columns_seen(images, columns, volume):
        height = torch.arange(start, start + len(sums), device=volume.device, dtype=torch.float32)
        sums = torch.zeros((*sums.shape[:2], n_y), device=volume.device)
        for image, left, share, (v0, vz) in zip(images, column, right, rows.tolist(), strict=True):
            seen = torch.lerp(image[left], image[left + 1], share[..., None])
            v = v0 + height * vz
            first = torch.floor(v)
            above = (v - first)[:, None, None]
            low = first.to(torch.int64)[:, None] + y
            inside = ((low >= 0) & (low < n_rows - 1))[:, None]
            low = low.clamp(0, n_rows - 2)[:, None].expand(-1, seen.shape[1], -1)
            value = torch.lerp(seen.gather(2, low), seen.gather(2, low + 1), above)
            sums += torch.where(inside, value, 0.0)
        volume[start : start + len(sums)] = sums.transpose(1, 2)


def _columns_seen(
    images: torch.Tensor, columns: torch.Tensor, volume: torch.Tensor
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """First height, empty sums (z, x, row), left column (tilt, z, x) and share of the one to its right."""
    n_z, _, n_x = volume.shape
    x = torch.arange(n_x, device=volume.device, dtype=torch.float32)[None]
    u0, ux, uz = (columns[:, i, None, None] for i in range(3))
    for start in range(0, n_z, _HEIGHTS):
        stop = min(n_z, start + _HEIGHTS)
        z = torch.arange(start, stop, device=volume.device, dtype=torch.float32)[:, None]
        u = (u0 + ux * x + uz * z).clamp(0.0, images.shape[1] - 1.001)
        column = u.to(torch.int64)
        sums = torch.zeros((len(z), n_x, images.shape[2]), device=volume.device)
        yield start, sums, column, u - column
