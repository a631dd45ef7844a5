"""Agreement of a half cube at the equivalents of frequencies, for many placings of a point group.

Cubes are as of `fourier_slices`, read trilinearly. One signature, numba on the CPU and torch on CUDA.
"""

from __future__ import annotations

import torch

from cryoloom.kernels.slices.orbits_cpu import orbit_evidence_numba
from cryoloom.kernels.slices.orbits_torch import orbit_evidence_torch
from cryoloom.kernels.tensors import on_cpu

__all__ = ["orbit_evidence"]


def orbit_evidence(
    values: torch.Tensor,
    precision: torch.Tensor,
    worth: torch.Tensor,
    turns: torch.Tensor,
    points: torch.Tensor,
    prior: torch.Tensor,
) -> torch.Tensor:
    """Nats that equivalents of each frequency are worth as one number rather than several, ``(n,)`` float64.

    ``sum_m |sum_g V|^2 / 2 (sum_g Y + p_m) - log(1 + sum_g Y / p_m) - sum_g worth``.

    values : half cube V, complex64. precision, worth : half cubes Y and of the nats of single values, float32
    of the same shape. turns : (n, g, 3, 3) float32, padding included. points : (m, 3) float32 as x, y, z;
    values are read at ``turns points``. prior : p, (m,) float32.
    """
    half = values.shape[0] // 2
    if len(turns) and len(points):
        reach = float(torch.linalg.vector_norm(points, dim=1).max())
        reach *= float(torch.linalg.vector_norm(turns[..., 0], dim=-1).max())
        if reach > half - 0.5:
            raise ValueError(f"points reach {reach:.1f} voxels, the cube {half}")
    if not on_cpu(values, precision, worth, turns, points, prior):
        return orbit_evidence_torch(values, precision, worth, turns, points, prior)
    packed = torch.stack([values.real, values.imag, precision, worth], dim=-1).contiguous()
    found = torch.zeros(len(turns), dtype=torch.float64)
    orbit_evidence_numba(
        packed.numpy(), turns.contiguous().numpy(), points.contiguous().numpy(), prior.numpy(), found.numpy()
    )
    return found
