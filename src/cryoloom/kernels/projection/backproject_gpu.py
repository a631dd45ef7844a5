"""Back-projection of one strip on CUDA: Triton, the twin of `backproject_cpu`.

A program sums the 32 rows of a block of voxels along x at one height; a warp reads a column's 32 rows
at once.
Checked in Triton's interpreter only: it has not yet run on a GPU.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

__all__ = ["back_project_triton"]

X_BLOCK = 8
"""Columns of one program. Chosen: with `ROWS` of them in registers."""


def back_project_triton(images: torch.Tensor, columns: torch.Tensor, volume: torch.Tensor) -> None:
    """See `cryoloom.kernels.projection.backproject.back_project`; tensors on one CUDA device."""
    n_tilts, n_columns, n_rows = images.shape
    n_z, n_y, n_x = volume.shape
    grid = (triton.cdiv(n_x, X_BLOCK), n_z)
    _back_project_block[grid](
        images, columns, volume, n_tilts, n_columns, n_y, n_x, ROWS=n_rows, X_BLOCK=X_BLOCK
    )


@triton.jit
def _back_project_block(
    images: Any,
    columns: Any,
    volume: Any,
    n_tilts: Any,
    n_columns: Any,
    n_y: Any,
    n_x: Any,
    ROWS: tl.constexpr,  # noqa: N803
    X_BLOCK: tl.constexpr,  # noqa: N803
) -> None:
    z = tl.program_id(1)
    x = tl.program_id(0) * X_BLOCK + tl.arange(0, X_BLOCK)
    y = tl.arange(0, ROWS)
    total = tl.zeros((X_BLOCK, ROWS), dtype=tl.float32)
    for tilt in range(n_tilts):
        geometry = columns + tilt * 3
        u = tl.load(geometry) + tl.load(geometry + 1) * x.to(tl.float32) + tl.load(geometry + 2) * z
        u = tl.minimum(tl.maximum(u, 0.0), n_columns - 1.001)
        column = u.to(tl.int32)
        right = (u - column.to(tl.float32))[:, None]
        at = images + (tilt * n_columns + column)[:, None] * ROWS + y[None, :]
        total += (1.0 - right) * tl.load(at) + right * tl.load(at + ROWS)
    voxel = (z.to(tl.int64) * n_y + y[None, :]) * n_x + x[:, None]
    tl.store(volume + voxel, total, mask=(x[:, None] < n_x) & (y[None, :] < n_y))
