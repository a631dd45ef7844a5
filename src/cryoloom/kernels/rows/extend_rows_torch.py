"""Rows of images continued beyond what was seen, in torch: the twin of `extend_rows_cpu` for CUDA."""

from __future__ import annotations

import math

import torch

__all__ = ["extend_rows_torch"]


def extend_rows_torch(rows: torch.Tensor, padded: torch.Tensor) -> None:
    """See `cryoloom.kernels.rows.extend_rows.extend_rows`; on any device."""
    n_columns, n_padded = rows.shape[2], padded.shape[2]
    before = (n_padded - n_columns) // 2
    index = torch.arange(n_columns, device=rows.device)
    seen = ~torch.isnan(rows)
    first = torch.where(seen, index, n_columns).amin(dim=-1, keepdim=True)
    last = torch.where(seen, index, -1).amax(dim=-1, keepdim=True)
    near = (last - first + 1).clamp(max=max(2, n_columns // 64))
    values = rows.nan_to_num(0.0)
    at_start = (index >= first) & (index < first + near)
    at_end = (index <= last) & (index > last - near)
    left = (values * at_start).sum(dim=-1, keepdim=True) / near
    right = (values * at_end).sum(dim=-1, keepdim=True) / near
    column = torch.arange(n_padded, device=rows.device) - before
    outside = torch.maximum(first - column, column - last).clamp(min=0)
    span = max(1, before)
    fade = torch.where(outside < span, 0.5 + 0.5 * torch.cos(math.pi * outside / span), 0.0)
    continued = torch.where(column < first, left, right) * fade
    padded.copy_(continued)
    padded[..., before : before + n_columns].copy_(
        torch.where(seen, values, continued[..., before : before + n_columns])
    )
    padded.mul_(seen.any(dim=-1, keepdim=True))
    padded.nan_to_num_(0.0)  # of rows without an image
