"""A volume at many rotations, sampled on a coarser grid by linear interpolation: numba, on CUDA torch."""

from __future__ import annotations

import torch

from cryoloom.kernels.images.rotate_volume_cpu import rotate_volume_numba
from cryoloom.kernels.images.rotate_volume_torch import rotate_volume_torch
from cryoloom.kernels.tensors import on_cpu

__all__ = ["rotate_volume"]


def rotate_volume(
    samples: torch.Tensor,
    rotations: torch.Tensor,
    samples_per_voxel: float,
    out: torch.Tensor,
    reach_voxels: float,
) -> None:
    """Fill ``out[i]`` with the volume turned by ``rotations[i]``: ``out[i](x) = samples(R_i^T x)``.

    samples : (n, n, n) float32, centre at index ``n // 2``; 0 beyond it. rotations : (m, 3, 3) float64 acting
    on xyz. out : (m, k, k, k) float32, k odd, centre in the middle, overwritten. All on one device.
    reach_voxels : out is 0 farther from its centre.
    """
    if samples.dtype != torch.float32 or out.dtype != torch.float32 or rotations.dtype != torch.float64:
        raise TypeError(
            f"expected float32, float64, float32, got {samples.dtype}, {rotations.dtype}, {out.dtype}"
        )
    if len(out) != len(rotations) or rotations.shape[1:] != (3, 3):
        raise ValueError(f"expected {len(out)} rotations (3, 3), got {tuple(rotations.shape)}")
    if on_cpu(samples, rotations, out):
        rotate_volume_numba(
            samples.contiguous().numpy(),
            rotations.contiguous().numpy(),
            samples_per_voxel,
            out.numpy(),
            reach_voxels,
        )
    else:
        rotate_volume_torch(samples, rotations, samples_per_voxel, out, reach_voxels)
