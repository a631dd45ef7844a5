"""An image sampled on a turned, shifted and scaled grid, with cubic B-splines: numba or, on CUDA, torch."""

from __future__ import annotations

import torch

from cryoloom.kernels.images.spline_sample_cpu import sample_spline_numba, sample_spline_numba_serial
from cryoloom.kernels.images.spline_torch import cubic_spline_values
from cryoloom.kernels.tensors import on_cpu

__all__ = ["sample_spline"]


def sample_spline(
    coefficients: torch.Tensor,
    affine: torch.Tensor,
    first_row: int,
    sampled: torch.Tensor,
    margin_yx: tuple[float, float],
    *,
    serial: bool = False,
) -> None:
    """Fill ``sampled`` with spline values; NaN where a position lies outside the image less its margin.

    coefficients : (y, x) float32 weights of the cubic B-splines, periodic.
    affine       : (2, 3) float64 in the CPU's memory; pixel (row, column) samples at ``affine @ (first_row +
                   row, column, 1)``, (y, x).
    sampled      : (row, column) float32, on the coefficients' device, overwritten.
    serial       : on the CPU, work on the calling thread only.
    """
    if tuple(affine.shape) != (2, 3) or affine.dtype != torch.float64:
        raise ValueError(f"expected an affine (2, 3) of float64, got {tuple(affine.shape)} of {affine.dtype}")
    if on_cpu(coefficients, sampled):
        sample = sample_spline_numba_serial if serial else sample_spline_numba
        sample(coefficients.numpy(), affine.numpy(), first_row, sampled.numpy(), margin_yx)
        return
    row = torch.arange(first_row, first_row + sampled.shape[0], dtype=torch.float64, device=sampled.device)
    column = torch.arange(sampled.shape[1], dtype=torch.float64, device=sampled.device)
    per_row, per_column, start = affine.to(sampled.device).T[:, :, None, None]
    y, x = per_row * row[:, None] + per_column * column + start
    outside = torch.zeros_like(y, dtype=torch.bool)
    for position, n, margin in zip((y, x), coefficients.shape, margin_yx, strict=True):
        outside |= (position < margin) | (position > n - 1 - margin)
    sampled.copy_(cubic_spline_values(coefficients, y, x).masked_fill(outside, torch.nan))
