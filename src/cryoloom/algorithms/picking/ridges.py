"""Sheets and rods in a volume: how much each voxel looks like part of one, and which way it runs.

A sheet is a ridge along one direction: its template is minus the second derivative of a Gaussian across, and
a wide Gaussian along. A rod is one along the direction and a ridge across. Templates of all directions of
half a sphere are compared with the volume by their Fourier transforms, which are known in closed form. Each
response is taken over its own deviation from the median (the missing wedge makes directions unequal), and the
mean over the directions is taken off the best: what is bright for every direction (gold, protein) is neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from cryoloom.algorithms.images.fourier import good_fft_size
from cryoloom.algorithms.images.parabola import vertex_offset
from cryoloom.algorithms.images.volume_fourier import frequencies_rfftn

__all__ = ["RidgePoints", "RidgeResponse", "half_sphere", "ridge_points", "ridge_response"]

Array = NDArray[np.float64]

_MAD_TO_SD = 1.4826
"""Standard deviation over median absolute deviation, of normal noise."""
_SAMPLE = 200_000
"""Chosen: voxels from which a response's deviation is measured."""


@dataclass(frozen=True, slots=True)
class RidgeResponse:
    """Response of every voxel, ``(z, y, x)``."""

    score: NDArray[np.float32]
    """Best response less the mean over directions, in deviations of noise."""
    direction: NDArray[np.integer[Any]]
    """Number of the best direction."""
    directions: Array
    """Unit vectors ``(n, 3)`` as x, y, z: a sheet's normal, a rod's axis."""


@dataclass(frozen=True, slots=True)
class RidgePoints:
    """Voxels on the crest of a ridge."""

    index_zyx: Array
    """To a part of a voxel, ``(n, 3)``."""
    directions: Array
    """``(n, 3)`` as x, y, z."""
    score: Array

    def take(self, index: NDArray[np.int64]) -> RidgePoints:
        """Some of them."""
        return RidgePoints(self.index_zyx[index], self.directions[index], self.score[index])


def half_sphere(n: int) -> Array:
    """Evenly spread directions of half a sphere, ``(n, 3)``, z from 0 to 1 (a Fibonacci spiral)."""
    i = np.arange(n) + 0.5
    z = i / n
    azimuth = math.pi * (1 + 5**0.5) * i
    return np.stack([np.sqrt(1 - z**2) * np.cos(azimuth), np.sqrt(1 - z**2) * np.sin(azimuth), z], axis=-1)


def ridge_response(
    volume: torch.Tensor,
    kind: Literal["sheet", "rod"],
    across_voxels: float,
    along_voxels: float,
    n_directions: int,
) -> RidgeResponse:
    """Response of a volume ``(z, y, x)`` in which matter is positive.

    across_voxels : standard deviation of the ridge's Gaussian, half the thickness. along_voxels : of the
    Gaussian along the sheet or rod.
    """
    shape = tuple(int(n) for n in volume.shape)
    reach = math.ceil(3 * along_voxels)
    padded = tuple(good_fft_size(n + reach) for n in shape)
    transform = torch.fft.rfftn(volume - volume.median(), s=padded)
    kz, ky, kx = (2 * math.pi * k for k in frequencies_rfftn(padded))
    squared = kz**2 + ky**2 + kx**2
    directions = half_sphere(n_directions)
    best = torch.full(shape, -math.inf)
    which = torch.zeros(shape, dtype=torch.int16)
    total = torch.zeros(shape)
    step = max(1, volume.numel() // _SAMPLE)
    for i, (x, y, z) in enumerate(directions.tolist()):
        u = (kx * x + ky * y + kz * z) ** 2  # squared frequency along the direction
        v = squared - u
        ridge, smooth = (u, v) if kind == "sheet" else (v, u)
        template = ridge * torch.exp(-0.5 * (across_voxels**2 * ridge + along_voxels**2 * smooth))
        response = torch.fft.irfftn(transform * template, s=padded)[: shape[0], : shape[1], : shape[2]]
        sample = response.reshape(-1)[::step]
        centre = sample.median()
        deviation = _MAD_TO_SD * (sample - centre).abs().median()
        response = (response - centre) / torch.clip(deviation, min=1e-20)
        total += response
        better = response > best
        best = torch.where(better, response, best)
        which[better] = i
    return RidgeResponse((best - total / n_directions).numpy(), which.numpy(), directions)


def ridge_points(response: RidgeResponse, kind: Literal["sheet", "rod"], least_score: float) -> RidgePoints:
    """Voxels above a score that are maxima across the ridge, moved to its crest by a parabola."""
    score = response.score
    at = np.argwhere(score >= least_score).astype(np.float64)
    directions = response.directions[response.direction[tuple(at.astype(int).T)]]
    place, kept = at.copy(), np.ones(len(at), dtype=bool)
    middle = score[tuple(at.astype(int).T)]
    for across in [directions] if kind == "sheet" else _perpendicular(directions):
        low, high = (
            map_coordinates(score, (at + sign * across[:, ::-1]).T, order=1, mode="nearest")
            for sign in (-1, 1)
        )
        kept &= (middle >= low) & (middle >= high)
        place += vertex_offset(low, middle, high)[:, None] * across[:, ::-1]
    return RidgePoints(place[kept], directions[kept], middle[kept].astype(np.float64))


def _perpendicular(directions: Array) -> list[Array]:
    """Two unit vectors perpendicular to each direction and to each other."""
    aid = np.where(np.abs(directions[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    first = np.cross(directions, aid)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return [first, np.cross(directions, first)]
