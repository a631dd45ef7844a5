"""Positions that may contain a particle: maxima of the correlation with its radial profile.

The radial profile needs no rotations and has most of a globular particle's power. It finds positions with the
right size and density; only these are then compared with the template.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from cryoloom.algorithms.images.fourier import good_fft_size
from cryoloom.algorithms.images.parabola import vertex_offset

__all__ = [
    "Candidates",
    "correlate_volume",
    "find_candidates",
    "keep_apart",
    "most_candidates",
    "radial_power",
    "typical_density",
]

Array = NDArray[np.float64]

_LEAST_ENERGY = 0.2
"""Fraction of the median: positions visible in fewer images are skipped."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Places ``index_zyx`` ``(n, 3)``, real-valued, and the correlation there in sd of noise, ``(n,)``."""

    index_zyx: Array
    significance: Array
    noise: float
    """Measured standard deviation of the correlation away from candidates: 1 for pure noise."""


def correlate_volume(volume: torch.Tensor, template: torch.Tensor) -> torch.Tensor:
    """``S(x) = sum over y of volume(x + y) template(y)``, ``(z, y, x)``, 0 beyond the volume.

    template : (k, k, k), k odd, its centre in the middle.
    """
    k = template.shape[0]
    shape = [good_fft_size(n + k) for n in volume.shape]
    spectrum = torch.fft.rfftn(volume, s=shape)
    spectrum *= torch.fft.rfftn(template.to(volume.device), s=shape).conj()
    correlation = torch.fft.irfftn(spectrum, s=shape)
    rolled = torch.roll(correlation, (k // 2, k // 2, k // 2), dims=(0, 1, 2))
    n_z, n_y, n_x = volume.shape
    return rolled[:n_z, :n_y, :n_x].contiguous()


def radial_power(density: torch.Tensor, frequency_per_voxel: Array) -> Array:
    """Mean squared transform of a density ``(k, k, k)`` at frequencies ``(ring,)``."""
    n = 2 * density.shape[0]
    power = torch.fft.fftn(density.double(), s=(n, n, n)).abs().square().numpy()
    axis = np.fft.fftfreq(n)
    ring = np.rint(n * np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)).astype(int).ravel()
    means = np.bincount(ring, power.ravel()) / np.bincount(ring)
    return np.interp(frequency_per_voxel, np.arange(len(means)) / n, means)


def find_candidates(
    correlation: NDArray[np.float32],
    energy: NDArray[np.float32],
    *,
    apart_voxels: float,
    margin_voxels: int,
    least_significance: float,
    most: int,
) -> Candidates:
    """Local maxima of ``S / sqrt(E)``, the highest first, with sub-voxel positions.

    correlation, energy : (z, y, x), S and E of the radial profile. apart_voxels : smallest distance of two.
    margin_voxels : from the volume's faces. least_significance : in measured standard deviations of all
    voxels, so that a crowded tomogram is not full of candidates.
    """
    seen = energy > _LEAST_ENERGY * np.median(energy)
    height = np.where(seen, correlation / np.sqrt(np.where(seen, energy, 1.0)), 0.0)
    sample = height[seen][:: max(1, int(seen.sum()) // 1_000_000)]
    noise = float(1.4826 * np.median(np.abs(sample - np.median(sample)))) if sample.size else 1.0
    size = 2 * max(1, int(0.6 * apart_voxels)) + 1
    highest = maximum_filter(height, size=size, mode="constant", cval=-np.inf)
    at = np.argwhere((height == highest) & (height > least_significance * max(noise, 1.0)))
    inside = ((at >= margin_voxels) & (at < np.array(height.shape) - margin_voxels)).all(axis=1)
    at = at[inside]
    order = np.argsort(-height[tuple(at.T)], kind="stable")
    at = at[order]
    at = at[keep_apart(at.astype(np.float64), apart_voxels)][:most]
    return Candidates(at + _peak_offsets(height, at), height[tuple(at.T)].astype(np.float64), noise)


def keep_apart(places: Array, apart: float) -> NDArray[np.int64]:
    """Indices of positions ``(n, 3)``, best first, without those closer than ``apart`` to a better one."""
    neighbours = cKDTree(places).query_ball_point(places, apart) if len(places) else []
    free = np.ones(len(places), dtype=bool)
    kept = []
    for i, near in enumerate(neighbours):
        if free[i]:
            kept.append(i)
            free[near] = False
    return np.array(kept, dtype=np.int64)


def _peak_offsets(height: NDArray[np.floating], at: NDArray[np.int64]) -> Array:
    """Where the parabola through three voxels along each axis is highest, ``(n, 3)``, within half a voxel."""
    steps = np.eye(3, dtype=int)
    return np.stack(
        [vertex_offset(*(height[tuple((at + k * step).T)] for k in (-1, 0, 1))) for step in steps], axis=-1
    )


def most_candidates(shape: tuple[int, ...], voxel_size_angstrom: float, diameter_angstrom: float) -> int:
    """Number of candidates that are compared: twice as many as fill a quarter of the volume, at least 50."""
    volume = math.prod(shape) * voxel_size_angstrom**3
    return max(50, int(0.5 * volume / (math.pi / 6 * diameter_angstrom**3)))


def typical_density(density: Array) -> float:
    """Density at which half of all density is in denser places: that of particles, not of the crowd between.

    density : (n,), positive. The median of the places is that of the crowd where its lumps are more.
    """
    ordered = np.sort(density)
    return float(ordered[np.searchsorted(np.cumsum(ordered), 0.5 * ordered.sum())])
