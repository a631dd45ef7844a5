"""Central slices of a volume's Fourier transform, their transpose, and the score of a pose with derivatives.

The transform is a half cube ``(z, y, x)`` of complex64 with index ``(h, h, 0)`` at zero frequency, shape
``(2 h + 1, 2 h + 1, h + 2)``; values at negative x are the conjugates at the opposite frequency. Samples are
read and added trilinearly. Sample ``(kx, ky)`` of slice n is at ``kx frames[n, 0] + ky frames[n, 1]`` (x, y,
z) in voxels of the cube, so that padding and magnification are in the frames. One signature, numba on the CPU
and torch on CUDA.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.kernels.slices.fourier_slices_cpu import (
    insert_slices_numba,
    score_poses_numba,
    sum_equivalents_numba,
    take_slices_numba,
)
from cryoloom.kernels.slices.fourier_slices_torch import (
    insert_slices_torch,
    score_poses_torch,
    sum_equivalents_torch,
    take_slices_torch,
)
from cryoloom.kernels.tensors import on_cpu

__all__ = ["cube_shape", "insert_slices", "score_poses", "sum_equivalents", "take_slices"]

# Private cubes of the insertion: a number that does not depend on the machine, so neither do the sums.
_N_CHUNKS, _SMALL_CUBE = 4, 1 << 24


def cube_shape(highest: float) -> tuple[int, int, int]:
    """Shape of the half cube that holds every frequency up to ``highest`` voxels."""
    half = int(highest) + 2
    return 2 * half + 1, 2 * half + 1, half + 2


def take_slices(cube: torch.Tensor, frames: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
    """Slices ``(n, m)`` complex64.

    cube : half cube, complex64. frames : (n, 2, 3) float32. samples : (m, 2) float32 as kx, ky.
    """
    _check(cube, frames, samples)
    if not on_cpu(cube, frames, samples):
        return take_slices_torch(cube, frames, samples)[0]
    slices = torch.empty((len(frames), len(samples)), dtype=torch.complex64)
    take_slices_numba(_pairs(cube), frames.numpy(), samples.numpy(), _pairs(slices))
    return slices


def insert_slices(
    values: torch.Tensor,
    weights: torch.Tensor,
    frames: torch.Tensor,
    samples: torch.Tensor,
    cube: torch.Tensor,
    weight_cube: torch.Tensor,
) -> None:
    """Add slices to a cube and their weights to another: the transpose of `take_slices`.

    values : (n, m) complex64. weights : (n, m) float32. cube, weight_cube : complex64 and float32 of one
    shape, added to. Of the plane x = 0 a frequency is added to the half it falls into; the caller joins it
    with its conjugate.
    """
    _check(cube, frames, samples)
    if not on_cpu(cube, frames, samples):
        insert_slices_torch(values, weights, frames, samples, cube, weight_cube)
        return
    n_chunks = _N_CHUNKS if cube.numel() <= _SMALL_CUBE else 1
    cubes = torch.zeros((n_chunks, *cube.shape), dtype=torch.complex64)
    weight_cubes = torch.zeros((n_chunks, *cube.shape), dtype=torch.float32)
    insert_slices_numba(
        _pairs(values.contiguous()),
        weights.contiguous().numpy(),
        frames.numpy(),
        samples.numpy(),
        _pairs(cubes),
        weight_cubes.numpy(),
    )
    cube += cubes.sum(0)
    weight_cube += weight_cubes.sum(0)


def score_poses(
    cube: torch.Tensor,
    data: torch.Tensor,
    weights: torch.Tensor,
    frames: torch.Tensor,
    shifts: torch.Tensor,
    samples: torch.Tensor,
    n_used: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Terms of the log-likelihood of each particle's pose, its gradient and its curvature.

    ``log L = sum_t cross_t - quadratic_t / 2`` with ``cross = Re sum D conj(A(k) exp(-2 pi i k . s))`` and
    ``quadratic = sum W |A(k)|^2``.

    data     : (particle, tilt, m) complex64, CTF times image over the noise's variance.
    weights  : (particle, tilt, m) float32, CTF squared over the noise's variance; 0 where nothing is known.
    frames   : (particle, tilt, 2, 3) float32. shifts : (particle, 3) float32, in the reference's frame, in
               units in which a frequency of the cube times a shift is a number of turns.
    samples  : (m, 2) float32 of whole kx >= 0, ky; the first ``n_used`` count.
    Returns terms (particle, tilt, 2), gradients (particle, 6) and curvatures (particle, 6, 6), float64: by a
    rotation vector in radians applied on the right, ``R exp(w)``, then by the shift. The curvature is
    Gauss-Newton's, ``J^T W J``.
    """
    _check(cube, frames.reshape(-1, 2, 3), samples)
    used = len(samples) if n_used is None else n_used
    if not on_cpu(cube, frames, samples):
        return score_poses_torch(cube, data[..., :used], weights[..., :used], frames, shifts, samples[:used])
    n, n_tilts = data.shape[:2]
    terms = torch.zeros((n, n_tilts, 2), dtype=torch.float64)
    gradients = torch.zeros((n, 6), dtype=torch.float64)
    curvatures = torch.zeros((n, 6, 6), dtype=torch.float64)
    score_poses_numba(
        _pairs(cube),
        _pairs(data),
        weights.numpy(),
        frames.numpy(),
        shifts.numpy(),
        samples.numpy(),
        used,
        terms.numpy(),
        gradients.numpy(),
        curvatures.numpy(),
    )
    return terms, gradients, curvatures


def sum_equivalents(
    data: torch.Tensor, weights: torch.Tensor, operators: torch.Tensor, highest: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over the equivalents ``S k`` of every frequency k up to ``highest`` voxels, of data and weights.

    data, weights : cubes as of `insert_slices`, with the plane x = 0 joined. operators : (s, 3, 3) float32.
    Values between voxels are trilinear.
    """
    if not on_cpu(data, weights, operators):
        return sum_equivalents_torch(data, weights, operators, highest)
    stacked = torch.cat([torch.view_as_real(data), weights[..., None]], dim=-1).contiguous()
    summed = torch.zeros_like(stacked)
    sum_equivalents_numba(stacked.numpy(), operators.numpy(), float(highest), summed.numpy())
    return torch.view_as_complex(summed[..., :2].contiguous()), summed[..., 2].contiguous()


def _pairs(array: torch.Tensor) -> NDArray[np.float32]:
    return torch.view_as_real(array).numpy()


def _check(cube: torch.Tensor, frames: torch.Tensor, samples: torch.Tensor) -> None:
    """Every sample must lie inside the cube: the loops do not look."""
    half = cube.shape[0] // 2
    if cube.dtype != torch.complex64 or tuple(cube.shape) != (2 * half + 1, 2 * half + 1, half + 2):
        raise ValueError(f"expected a half cube of complex64, got {cube.dtype} {tuple(cube.shape)}")
    if frames.dtype != torch.float32 or samples.dtype != torch.float32 or frames.shape[1:] != (2, 3):
        raise ValueError(
            f"expected float32 frames (n, 2, 3) and samples, got {frames.dtype} {tuple(frames.shape)} "
            f"and {samples.dtype}"
        )
    if len(frames) and len(samples):
        longest = float(torch.linalg.vector_norm(frames, dim=(1, 2)).max())
        reach = float(torch.linalg.vector_norm(samples, dim=1).max()) * longest / 2**0.5
        if reach > half - 0.5:
            raise ValueError(f"samples reach {reach:.1f} voxels, the cube {half}")
