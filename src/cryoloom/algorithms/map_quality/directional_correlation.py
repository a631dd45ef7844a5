"""Resolution by direction: the halves' correlation within cones of the Fourier transform.

What tilts do not cover, and preferred orientations, blunt a map along some directions only. Fourier shell
occupancy, the part of the directions that agree at a frequency: Vilas & Tagare, Nat. Methods 20 (2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from cryoloom.algorithms.averaging.shell_correlation import first_fall
from cryoloom.geometry.orientation_grid import half_sphere_directions

__all__ = ["DirectionalCorrelation", "directional_correlation"]

Array = NDArray[np.float64]

_CONE_HALF_ANGLE_DEG, _STEP_DEG, _SMOOTH_SHELLS = 20.0, 18.0, 2.0
"""Cones of 20 degrees as Tan et al. (2017), overlapping."""


@dataclass(frozen=True, slots=True)
class DirectionalCorrelation:
    """Curves ``(direction, shell)`` within cones about directions ``(n, 3)``; where each falls to 0.143."""

    directions: Array
    curves: Array
    resolution_angstrom: Array
    occupancy: Array
    """By shell, the part of the directions whose correlation is above 0.143."""

    @property
    def worst(self) -> int:
        """Number of the direction whose curve is lowest in the mean."""
        return int(np.argmin(self.curves.mean(axis=1)))

    @property
    def best(self) -> int:
        """Number of the direction whose curve is highest in the mean."""
        return int(np.argmax(self.curves.mean(axis=1)))


def directional_correlation(
    halves: tuple[torch.Tensor, torch.Tensor],
    mask: torch.Tensor,
    voxel_angstrom: float,
    n_shells: int,
    *,
    threshold: float = 0.143,
) -> DirectionalCorrelation:
    """Correlation of masked halves ``(n, n, n)`` within cones of 20 degrees, to shell ``n_shells``.

    A cone holds few samples of a shell: sums are taken over a Gaussian of two shells about each.
    """
    n = halves[0].shape[0]
    a, b = (np.fft.rfftn((half * mask).double().numpy()) for half in halves)
    full, half = np.fft.fftfreq(n, 1 / n), np.fft.rfftfreq(n, 1 / n)
    kz, ky, kx = np.meshgrid(full, full, half, indexing="ij")
    radius = np.sqrt(kx**2 + ky**2 + kz**2)
    shell = np.rint(radius).astype(np.int64)
    inside = (shell > 0) & (shell <= n_shells)
    unit = np.stack([kx[inside], ky[inside], kz[inside]], axis=-1) / radius[inside][:, None]
    once = np.where((kx[inside] == 0), 0.5, 1.0)
    values = [
        once * (a[inside] * b[inside].conj()).real,
        once * np.abs(a[inside]) ** 2,
        once * np.abs(b[inside]) ** 2,
    ]
    directions = half_sphere_directions(_STEP_DEG)
    least = np.cos(np.deg2rad(_CONE_HALF_ANGLE_DEG))
    curves = np.ones((len(directions), n_shells + 1))
    for i, direction in enumerate(directions):
        near = np.abs(unit @ direction) >= least
        sums = [
            gaussian_filter1d(
                np.bincount(shell[inside][near], value[near], minlength=n_shells + 1), _SMOOTH_SHELLS
            )
            for value in values
        ]
        norm = np.sqrt(sums[1] * sums[2])
        curves[i] = np.divide(sums[0], norm, out=np.ones(n_shells + 1), where=norm > 0)
    box = n * voxel_angstrom
    resolution = np.array([first_fall(curve, threshold, box) for curve in curves])
    occupancy = (curves >= threshold).mean(axis=0)
    return DirectionalCorrelation(directions, curves, resolution, occupancy)
