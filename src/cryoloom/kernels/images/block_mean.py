"""Rows of an image binned by averaging blocks: numba on the CPU, torch on CUDA."""

from __future__ import annotations

import torch

from cryoloom.kernels.images.block_mean_cpu import block_mean_numba
from cryoloom.kernels.tensors import on_cpu

__all__ = ["block_mean"]


def block_mean(rows: torch.Tensor, out: torch.Tensor) -> None:
    """Fill ``out`` with means over square blocks of ``rows``; what is not finite counts as 0.

    rows : (y, x) float32, as many times as high as ``out`` as the blocks have rows; columns left over are
    dropped. out : (y, x) float32, on the rows' device, overwritten.
    """
    (n_y, n_x), factor = out.shape, rows.shape[0] // max(1, out.shape[0])
    if n_y * factor != rows.shape[0] or n_x * factor > rows.shape[1]:
        raise ValueError(f"rows {tuple(rows.shape)} are no whole blocks of {tuple(out.shape)}")
    if on_cpu(rows, out):
        block_mean_numba(rows.numpy(), out.numpy())
        return
    finite = rows[:, : n_x * factor].nan_to_num(0.0, 0.0, 0.0)
    out.copy_(finite.reshape(n_y, factor, n_x, factor).mean(dim=(1, 3)))
