"""Rows of images continued smoothly beyond what was seen: numba on the CPU, torch on CUDA."""

from __future__ import annotations

import torch

from cryoloom.kernels.rows.extend_rows_cpu import extend_rows_numba, extend_rows_numba_serial
from cryoloom.kernels.rows.extend_rows_torch import extend_rows_torch
from cryoloom.kernels.tensors import on_cpu

__all__ = ["extend_rows"]


def extend_rows(rows: torch.Tensor, padded: torch.Tensor, *, serial: bool = False) -> None:
    """Fill ``padded`` with the rows, centred, continued beyond their first and last seen pixel, falling to 0.

    rows   : (tilt, row, column) float32, NaN outside the image, finite within it.
    padded : (tilt, row, n_padded) float32, overwritten. On the rows' device.
    serial : on the CPU, work on the calling thread only.

    Beyond the image a row goes on with the mean of its outermost pixels (1/64 of the row), which falls
    to 0 as a raised cosine over the padding: a step there would become a bright edge after the ramp filter.
    A row without an image is 0.
    """
    if rows.dtype != torch.float32 or padded.dtype != torch.float32:
        raise TypeError(f"expected float32, got {rows.dtype} and {padded.dtype}")
    if rows.shape[:2] != padded.shape[:2] or padded.shape[2] < rows.shape[2]:
        raise ValueError(f"rows {tuple(rows.shape)} do not fit into {tuple(padded.shape)}")
    if on_cpu(rows, padded):
        extend = extend_rows_numba_serial if serial else extend_rows_numba
        extend(rows.numpy(), padded.numpy())
    else:
        extend_rows_torch(rows, padded)
