"""Rows continued, filtered, made twice finer and turned in torch, on any device."""

from __future__ import annotations

import torch

from cryoloom.kernels.rows.extend_rows_torch import extend_rows_torch

__all__ = ["filter_rows_torch", "refine_rows_torch"]


def filter_rows_torch(
    rows: torch.Tensor,
    first_row: int,
    filters: torch.Tensor,
    n_padded: int,
    taps: torch.Tensor,
    columns: torch.Tensor,
) -> None:
    """See `cryoloom.kernels.rows.filter_rows.filter_rows`."""
    some = rows[:, first_row : first_row + columns.shape[2]]
    padded = torch.empty((*some.shape[:2], n_padded), device=rows.device)
    extend_rows_torch(some, padded)
    filtered = torch.fft.irfft(torch.fft.rfft(padded) * filters[:, None], n=n_padded)
    columns.zero_()
    first = (n_padded - rows.shape[2]) // 2
    refine_rows_torch(filtered, first, taps, columns[..., : some.shape[1]])


def refine_rows_torch(samples: torch.Tensor, first: int, taps: torch.Tensor, columns: torch.Tensor) -> None:
    """Fill ``columns (..., 2 m + 2, row)`` with samples ``(..., row, n)`` and with what is between them.

    first : the sample that becomes the first of m. The outermost columns become 0.
    """
    m = columns.shape[-2] // 2 - 1
    at = first + torch.arange(m, device=samples.device)
    between = sum(tap * (samples[..., at - k] + samples[..., at + 1 + k]) for k, tap in enumerate(taps))
    columns[..., 0, :] = columns[..., -1, :] = 0.0
    columns[..., 1:-1:2, :] = samples[..., at].transpose(-1, -2)
    columns[..., 2:-1:2, :] = between.transpose(-1, -2)
