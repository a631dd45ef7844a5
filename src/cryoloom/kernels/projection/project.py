"""Projection of one strip of a tomogram and its transpose; what iterative methods repeat.

One signature, vector code on the CPU and torch elsewhere.

Voxel ``(z, x)`` is seen by tilt t about column ``u = u0 + ux x + uz z`` and shares itself linearly between
the two columns next to it; back-projection takes from the same two with the same weights. Images begin and
end with a column that is not used.
"""

from __future__ import annotations

import torch

from cryoloom.kernels.projection.project_cpu import add_back_projection_numba, project_numba
from cryoloom.kernels.projection.project_torch import add_back_projection_torch, project_torch
from cryoloom.kernels.vector.ir import ROWS
from cryoloom.kernels.vector.support import vector_code_fits

__all__ = ["add_back_projection", "project"]


def project(volume: torch.Tensor, columns: torch.Tensor, images: torch.Tensor) -> None:
    """Fill the images of a strip with the sums of its voxels along the beams.

    volume  : (z, x, 32) float32, contiguous.
    columns : (tilt, 3) float32 as (u0, ux, uz), ux at least 0.1.
    images  : (tilt, column, 32) float32, contiguous, overwritten; the outermost columns become 0. All three
              on one device.
    """
    _check(volume, columns, images)
    if vector_code_fits(volume):
        project_numba(volume.numpy(), columns.numpy(), images.numpy())
    else:
        project_torch(volume, columns, images)


def add_back_projection(
    images: torch.Tensor, columns: torch.Tensor, scale: torch.Tensor, volume: torch.Tensor
) -> None:
    """Add ``scale (z, x)`` times the images' back-projection to a strip: the transpose of `project`.

    As there; the images' outermost columns must be 0.
    """
    _check(volume, columns, images)
    if scale.shape != volume.shape[:2] or scale.dtype != torch.float32:
        raise ValueError(f"expected float32 scales {tuple(volume.shape[:2])}, got {tuple(scale.shape)}")
    if vector_code_fits(volume):
        add_back_projection_numba(images.numpy(), columns.numpy(), scale.contiguous().numpy(), volume.numpy())
    else:
        add_back_projection_torch(images, columns, scale, volume)


def _check(volume: torch.Tensor, columns: torch.Tensor, images: torch.Tensor) -> None:
    if {volume.dtype, columns.dtype, images.dtype} != {torch.float32}:
        raise TypeError(f"expected float32, got {volume.dtype}, {columns.dtype} and {images.dtype}")
    if columns.shape != (images.shape[0], 3) or images.shape[2] != ROWS or volume.shape[2] != ROWS:
        raise ValueError(
            f"expected {ROWS} rows and a geometry for each tilt, got volume {tuple(volume.shape)}, "
            f"columns {tuple(columns.shape)}, images {tuple(images.shape)}"
        )
    if not (volume.is_contiguous() and images.is_contiguous()):
        raise ValueError("expected contiguous volume and images")
    if float(columns[:, 1].min()) < 0.1:
        raise ValueError(
            f"tilts beyond 84 degrees cannot be projected: ux is {float(columns[:, 1].min()):.3f}"
        )
    if max(volume.numel(), images.numel()) >= 2**31:  # offsets are 32-bit
        raise ValueError(f"a strip of {volume.numel()} voxels is too large")
