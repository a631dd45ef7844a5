"""Mean and variance of every row of an image: numba on the CPU, torch on CUDA."""

from __future__ import annotations

import torch

from cryoloom.kernels.rows.row_moments_cpu import row_moments_numba
from cryoloom.kernels.tensors import on_cpu

__all__ = ["row_moments"]


def row_moments(rows: torch.Tensor, out: torch.Tensor) -> None:
    """Fill ``out`` ``(2, y)`` with mean and variance of ``rows`` ``(y, x)``, both float32.

    Values are summed in float64. A row with a value that is not a number has neither.
    """
    if tuple(out.shape) != (2, len(rows)) or {rows.dtype, out.dtype} != {torch.float32}:
        raise ValueError(
            f"expected float32 rows and moments (2, {len(rows)}), got {rows.dtype}, {out.dtype} and "
            f"{tuple(out.shape)}"
        )
    if on_cpu(rows, out):
        row_moments_numba(rows.numpy(), out.numpy())
        return
    variance, mean = torch.var_mean(rows.double(), dim=1, correction=0)
    out[0], out[1] = mean, variance
