"""Forward projection of a strip of a volume: the sum along the beam, row by row.

One signature, vector code on the CPU and torch elsewhere. The counterpart of
`cryoloom.kernels.projection.backproject`.
"""

from __future__ import annotations

import torch

from cryoloom.kernels.projection.forward_project_cpu import forward_project_numba, own_taps_numba
from cryoloom.kernels.projection.forward_project_torch import forward_project_torch, own_taps_torch
from cryoloom.kernels.tensors import on_cpu
from cryoloom.kernels.vector.ir import ROWS
from cryoloom.kernels.vector.support import vector_code_fits

__all__ = ["forward_project", "own_taps"]


def forward_project(volume: torch.Tensor, rays: torch.Tensor, images: torch.Tensor) -> None:
    """Fill images with the sums of a strip along the rays of each tilt.

    volume : (z, x, 32) float32, contiguous, its outermost columns x all 0. rays : (tilt, 3) float32 as
    (x0, xu, xz): the ray of image column u passes layer z at ``x = x0 + xu u + xz z``, interpolated linearly.
    images : (tilt, u, 32) float32, contiguous, overwritten. All on one device.
    """
    if (
        volume.shape[2] != ROWS
        or images.shape[2] != ROWS
        or rays.shape != (images.shape[0], 3)
        or volume.shape[1] < 2
    ):
        raise ValueError(
            f"expected {ROWS} rows and a ray for each tilt, got volume {tuple(volume.shape)}, "
            f"rays {tuple(rays.shape)} and images {tuple(images.shape)}"
        )
    if volume.numel() >= 2**31:  # offsets are 32-bit
        raise ValueError(f"a strip of {volume.numel()} voxels is too large")
    if vector_code_fits(volume):
        forward_project_numba(volume.numpy(), rays.numpy(), images.numpy())
    else:
        forward_project_torch(volume, rays, images)


def own_taps(scale: torch.Tensor, rays: torch.Tensor, columns: torch.Tensor, n_u: int) -> torch.Tensor:
    """Contribution of an image column to itself and its neighbours through the volume, ``(tilt, u, 3)``.

    An image back-projected with the weights ``scale (z, x)`` and projected along its own rays is
    ``sum_k taps[u, k] image[u - 1 + k]``: a ray meets, left and right of it, voxels that took from the ray's
    column and the next. columns, rays : (tilt, 3), as `back_project` and `forward_project` take them.
    """
    if on_cpu(scale, rays, columns):
        return torch.from_numpy(own_taps_numba(scale.numpy(), rays.numpy(), columns.numpy(), n_u))
    return own_taps_torch(scale, rays, columns, n_u)
