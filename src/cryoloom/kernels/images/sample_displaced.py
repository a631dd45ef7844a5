"""An image sampled at smoothly displaced positions, with cubic B-splines: numba on the CPU, torch on CUDA."""

from __future__ import annotations

import torch

from cryoloom.kernels.images.sample_displaced_cpu import sample_displaced_numba
from cryoloom.kernels.images.spline_torch import cubic_spline_values
from cryoloom.kernels.tensors import on_cpu

__all__ = ["sample_displaced"]


def sample_displaced(
    coefficients: torch.Tensor,
    origin_yx: tuple[int, int],
    basis_y: torch.Tensor,
    basis_x: torch.Tensor,
    control_yx: torch.Tensor,
    sampled: torch.Tensor,
) -> None:
    """Fill ``sampled`` with the image's values at each pixel's own position plus its displacement.

    coefficients : (y, x) float32 weights of the cubic B-splines, periodic. origin_yx : position of the first
    pixel of ``sampled`` (row, column) float32. The displacement in pixels of (row, column) is ``sum_ab
    basis_y[row, a] basis_x[column, b] control_yx[a, b]``, all float32. Beyond the image its outermost pixel
    is taken. On the calling thread alone.
    """
    shape = (len(basis_y), len(basis_x))
    if tuple(sampled.shape) != shape or tuple(control_yx.shape) != (basis_y.shape[1], basis_x.shape[1], 2):
        raise ValueError(
            f"bases of {shape} pixels do not fit samples {tuple(sampled.shape)} and controls "
            f"{tuple(control_yx.shape)}"
        )
    if on_cpu(coefficients, basis_y, basis_x, control_yx, sampled):
        sample_displaced_numba(
            coefficients.numpy(), origin_yx, basis_y.numpy(), basis_x.numpy(), control_yx.numpy(),
            sampled.numpy(),
        )  # fmt: skip
        return
    moved = torch.einsum("ya,xb,abc->cyx", basis_y, basis_x, control_yx)
    row = torch.arange(origin_yx[0], origin_yx[0] + shape[0], device=sampled.device)
    column = torch.arange(origin_yx[1], origin_yx[1] + shape[1], device=sampled.device)
    y = (moved[0] + row[:, None]).clamp(0, coefficients.shape[0] - 1)
    x = (moved[1] + column[None]).clamp(0, coefficients.shape[1] - 1)
    sampled.copy_(cubic_spline_values(coefficients, y, x))
