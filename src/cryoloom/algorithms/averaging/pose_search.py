"""Exhaustive search of poses as matrix products.

All particles of a series share the viewing directions, so the slices of the reference are made once for every
orientation of a grid, and the log-likelihoods of all particles, shifts and orientations follow from two
matrix products: one with the data, whose phases are shifted, and one with the weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.fourier_cube import PADDING
from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.kernels.slices.fourier_slices import take_slices

__all__ = ["Posterior", "direction_prior", "frames_of", "search_poses", "shift_grid", "shift_phases"]

_ORIENTATIONS_AT_ONCE, _COLUMNS_AT_ONCE = 512, 1 << 13


@dataclass(frozen=True, slots=True)
class Posterior:
    """The significant poses of each particle, best first; weights sum to 1 and are 0 if there are fewer.

    ``rotation`` and ``shift`` (particle, mode) are indices into the grids. ``log_likelihood`` (particle,) is
    the best pose's gain over no particle; ``n_effective`` (particle,) is the number of orientations that
    share the posterior, as exp of its entropy.
    """

    rotation: NDArray[np.int64]
    shift: NDArray[np.int64]
    weight: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    n_effective: NDArray[np.float64]


def shift_grid(range_angstrom: float, step_angstrom: float) -> NDArray[np.float64]:
    """Shifts ``(n, 3)`` of a cubic grid inside a ball, none first."""
    n = math.floor(range_angstrom / step_angstrom + 1e-6)
    axis = step_angstrom * np.arange(-n, n + 1)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    length = np.linalg.norm(grid, axis=1)
    return grid[np.argsort(length, kind="stable")][: np.count_nonzero(length <= range_angstrom + 1e-6)]


def frames_of(matrices: NDArray[np.float64], rotations: NDArray[np.float64]) -> torch.Tensor:
    """Frames ``(rotation, tilt, 2, 3)`` as `kernels.fourier_slices` takes them.

    A frequency of the image is ``P^T k`` in the specimen and ``R^T P^T k`` in the reference.
    """
    product = np.einsum("tab,nbc->ntac", matrices[:, :2], rotations)
    return torch.tensor(PADDING * product, dtype=torch.float32).contiguous()


def direction_prior(
    rotations: NDArray[np.float64], directions: NDArray[np.float64], width_deg: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log prior ``(particle, rotation)``: a von Mises-Fisher density of the angle from R z to a direction.

    directions : (particle, 3), NaN if there is no prior. width_deg : standard deviations (particle,).
    """
    cosine = directions @ rotations[:, :, 2].T
    concentration = 1.0 / np.deg2rad(width_deg) ** 2
    return np.nan_to_num(concentration[:, None] * (cosine - 1.0), nan=0.0)


def search_poses(
    images: ParticleImages,
    cube: torch.Tensor,
    rotations: NDArray[np.float64],
    shifts_xyz_angstrom: NDArray[np.float64],
    n_used: int,
    *,
    log_prior: NDArray[np.float64] | None = None,
    temperature: float = 1.0,
    n_modes: int = 64,
    gain: NDArray[np.float32] | None = None,
    centres_xyz_angstrom: NDArray[np.float64] | None = None,
) -> Posterior:
    """Posterior of every particle over a grid of rotations ``(n, 3, 3)`` and shifts ``(s, 3)``.

    n_used : number of samples in use, a prefix of the plane's. log_prior : (particle, rotation). temperature
    : the likelihood's exponent; below 1 the posterior is flatter. gain : (tilt, m), multiplies data and
    weights. centres_xyz_angstrom : shifts ``(particle, 3)`` about which the grid of shifts is placed.
    """
    tilts, samples = len(images.matrices), images.plane.samples[:n_used]
    factor = np.ones((tilts, n_used), np.float32) if gain is None else gain[:, :n_used]
    data = torch.tensor(images.data[..., :n_used] * factor)
    weights = torch.tensor(images.weights[..., :n_used] * factor).reshape(images.n, -1)
    if centres_xyz_angstrom is not None:
        data = data * shift_phases(images, centres_xyz_angstrom, n_used)
    turns = shift_phases(images, shifts_xyz_angstrom, n_used)
    n_shifts = len(shifts_xyz_angstrom)
    at_once = max(1, _COLUMNS_AT_ONCE // n_shifts)
    marginal = np.zeros((images.n, len(rotations)), np.float32)
    peak = np.zeros_like(marginal)
    best_shift = np.zeros((images.n, len(rotations)), np.int32)
    for r in range(0, len(rotations), _ORIENTATIONS_AT_ONCE):
        some = rotations[r : r + _ORIENTATIONS_AT_ONCE]
        frames = frames_of(images.matrices, some).reshape(-1, 2, 3)
        slices = take_slices(cube, frames, samples).reshape(len(some), -1)
        flat = torch.view_as_real(slices).reshape(len(some), -1)
        power = weights @ (flat[:, ::2] ** 2 + flat[:, 1::2] ** 2).T
        for p in range(0, images.n, at_once):
            turned = data[p : p + at_once, None] * turns[None]
            rows = torch.view_as_real(turned).reshape(-1, flat.shape[1])
            cross = (rows @ flat.T).reshape(-1, n_shifts, len(some))
            score = temperature * (cross - 0.5 * power[p : p + at_once, None])
            highest, index = score.max(dim=1)
            marginal[p : p + at_once, r : r + len(some)] = torch.logsumexp(score, dim=1).numpy()
            peak[p : p + at_once, r : r + len(some)] = highest.numpy()
            best_shift[p : p + at_once, r : r + len(some)] = index.numpy()
    return _posterior(marginal, peak, best_shift, log_prior, n_modes, temperature)


def shift_phases(images: ParticleImages, shifts: NDArray[np.float64], n_used: int) -> torch.Tensor:
    """``exp(+2 pi i k . P s)`` of each shift, ``(shift, tilt, m)``: takes the shift out of the data."""
    seen = np.einsum("tab,sb->sta", images.matrices[:, :2], shifts) / images.plane.box_angstrom
    turns = seen @ images.plane.kxy[:n_used].T
    return torch.tensor(np.exp(2j * np.pi * turns), dtype=torch.complex64)


def _posterior(
    marginal: NDArray[np.float32],
    peak: NDArray[np.float32],
    best_shift: NDArray[np.int32],
    log_prior: NDArray[np.float64] | None,
    n_modes: int,
    temperature: float,
) -> Posterior:
    total = marginal.astype(np.float64)
    if log_prior is not None:
        total = total + log_prior
    total -= total.max(axis=1, keepdims=True)
    weight = np.exp(total)
    weight /= weight.sum(axis=1, keepdims=True)
    entropy = -(weight * np.log(np.maximum(weight, 1e-300))).sum(axis=1)
    n_modes = min(n_modes, weight.shape[1])
    order = np.argsort(-weight, axis=1, kind="stable")[:, :n_modes]
    kept = np.take_along_axis(weight, order, axis=1)
    kept = np.where(kept > 1e-3 * kept[:, :1], kept, 0.0)
    return Posterior(
        rotation=order,
        shift=np.take_along_axis(best_shift, order, axis=1).astype(np.int64),
        weight=kept / kept.sum(axis=1, keepdims=True),
        log_likelihood=np.take_along_axis(peak, order[:, :1], axis=1)[:, 0].astype(np.float64) / temperature,
        n_effective=np.exp(entropy),
    )
