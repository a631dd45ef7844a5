"""Resolution at every place of a map: the halves' correlation in bands of frequency, within a window."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.volume_fourier import exact_radial_frequency_rfftn

__all__ = ["LocalResolution", "local_resolution"]

Array = NDArray[np.float64]

_THRESHOLD = 0.5
"""Of the halves in a window. 0.143 in so few samples would often be reached by noise."""
_WINDOW_RESOLUTIONS, _LEAST_WINDOW_PX = 1.5, 3.0
"""Chosen: deviation of the window; wider ones blur, narrower ones are noise."""
_BAND_OF_FREQUENCY = 0.16  # chosen: width of a band over its frequency


@dataclass(frozen=True, slots=True)
class LocalResolution:
    """``map`` (n, n, n) in angstrom, NaN outside of the mask; the window's standard deviation in angstrom."""

    map: NDArray[np.float32]
    window_sd_angstrom: float


def local_resolution(
    halves: tuple[torch.Tensor, torch.Tensor],
    mask: torch.Tensor,
    voxel_angstrom: float,
    resolution_angstrom: float,
) -> LocalResolution:
    """Where the halves' correlation in a window first falls below 0.5, at every voxel of a mask.

    halves : unfiltered maps ``(n, n, n)``. resolution_angstrom : of the whole map; the window is a Gaussian
        of 1.5 times it. Nothing finer than the last shell is given, and nothing coarser than the window can
        tell.
    """
    n = halves[0].shape[0]
    box = n * voxel_angstrom
    sd = max(_WINDOW_RESOLUTIONS * resolution_angstrom, _LEAST_WINDOW_PX * voxel_angstrom)
    coarsest = min(4.0 * sd, box / 3.0)
    bands = [1.0 / coarsest]
    while bands[-1] < 0.5 / voxel_angstrom:
        bands.append(bands[-1] * (1.0 + _BAND_OF_FREQUENCY))
    centres = np.sqrt(np.array(bands[:-1]) * np.array(bands[1:]))
    spectra = [torch.fft.rfftn((half * (mask > 0)).float()) for half in halves]
    radius = exact_radial_frequency_rfftn((n, n, n), 1 / n) / box
    window = torch.tensor(np.exp(-2.0 * (math.pi * sd * radius) ** 2), dtype=torch.float32)
    found = np.full((n, n, n), coarsest, np.float32)
    going = np.asarray(mask.numpy() > 0.5)
    inside = going.copy()
    previous = np.ones((n, n, n), np.float32)
    before = 1.0 / coarsest
    for low, high, centre in zip(bands[:-1], bands[1:], centres, strict=True):
        chosen = torch.tensor((radius >= low) & (radius < high))
        if not bool(chosen.any()):
            continue
        parts = [torch.fft.irfftn(torch.where(chosen, spectrum, 0), s=(n, n, n)) for spectrum in spectra]
        cross, first, second = (
            _windowed(product, window) for product in (parts[0] * parts[1], parts[0] ** 2, parts[1] ** 2)
        )
        correlation = (cross / torch.sqrt(torch.clip(first * second, min=1e-30))).numpy()
        fallen = going & (correlation < _THRESHOLD)
        # Between the bands' centres as a straight line.
        part = np.clip((previous - _THRESHOLD) / np.maximum(previous - correlation, 1e-6), 0.0, 1.0)
        found[fallen] = 1.0 / (before + part[fallen] * (centre - before))
        going &= ~fallen
        found[going] = 1.0 / centre
        previous, before = correlation, float(centre)
        if not going.any():
            break
    found[~inside] = np.nan
    return LocalResolution(found, sd)


def _windowed(product: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    n = product.shape[0]
    return torch.fft.irfftn(torch.fft.rfftn(product) * window, s=(n, n, n))
