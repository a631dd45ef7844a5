"""Back-projection of one strip of a tomogram: one signature, vector code on the CPU, Triton on CUDA.

After alignment the tilt axis is y. Voxel ``(z, x)`` of every row y lies, at one tilt, on the same column
``u = u0 + ux x + uz z`` of the filtered image, so a strip of 32 rows is summed as vectors: two neighbouring
columns times two weights, linear interpolation. The rows are contiguous in memory for that reason.
"""

from __future__ import annotations

import torch

from cryoloom.kernels.projection.backproject_cpu import back_project_numba, back_project_oblique_numba
from cryoloom.kernels.projection.backproject_torch import back_project_oblique_torch, back_project_torch
from cryoloom.kernels.tensors import on_cpu
from cryoloom.kernels.vector.support import vector_code_fits

__all__ = ["STRIP_ROWS", "back_project", "back_project_oblique"]

STRIP_ROWS = 32
"""Rows of a strip: four AVX registers on the CPU, one warp on the GPU."""


def back_project(images: torch.Tensor, columns: torch.Tensor, volume: torch.Tensor) -> None:
    """Fill a strip of a volume with the sum over tilts of its filtered images.

    images  : (tilt, column, 32) float32, contiguous. A voxel that lies beyond the first or last column gets
              that column's value: leave them 0.
    columns : (tilt, 3) float32 as (u0, ux, uz): voxel index (z, x) lies on column ``u0 + ux x + uz z``.
    volume  : (z, y, x) float32 with at most 32 rows y, contiguous, overwritten. On the images' device.
    """
    _check(images, columns, volume, n_rows=STRIP_ROWS)
    if volume.device.type == "cuda":
        from cryoloom.kernels.projection.backproject_gpu import back_project_triton

        back_project_triton(images, columns, volume)
    elif vector_code_fits(volume):
        back_project_numba(images.numpy(), columns.numpy(), volume.numpy())
    else:
        back_project_torch(images, columns, volume)


def back_project_oblique(
    images: torch.Tensor, columns: torch.Tensor, rows: torch.Tensor, volume: torch.Tensor
) -> None:
    """Fill a strip where the rows drift with height as well: the specimen is turned about x (an x-tilt).

    As `back_project`, but images are (tilt, column, row) with any number of rows, and
    rows : (tilt, 2) float32 as (v0, vz): voxel (z, y) lies on row ``y + v0 + vz z``. Bilinear interpolation.
    """
    _check(images, columns, volume, n_rows=images.shape[2])
    if on_cpu(images, columns, rows, volume):
        back_project_oblique_numba(images.numpy(), columns.numpy(), rows.numpy(), volume.numpy())
    else:
        back_project_oblique_torch(images, columns, rows, volume)


def _check(images: torch.Tensor, columns: torch.Tensor, volume: torch.Tensor, n_rows: int) -> None:
    if images.dtype != torch.float32 or volume.dtype != torch.float32 or columns.dtype != torch.float32:
        raise TypeError(f"expected float32, got {images.dtype}, {columns.dtype} and {volume.dtype}")
    if columns.shape != (images.shape[0], 3) or images.shape[2] != n_rows or images.shape[1] < 2:
        raise ValueError(f"images {tuple(images.shape)} and columns {tuple(columns.shape)} do not fit")
    if volume.shape[1] > n_rows or not (images.is_contiguous() and volume.is_contiguous()):
        raise ValueError(f"expected contiguous strips of at most {n_rows} rows, got {tuple(volume.shape)}")
    # Offsets into the images are 32-bit.
    if images.numel() >= 2**31:
        raise ValueError(f"a strip of {images.numel()} image pixels is too large; use fewer rows")
