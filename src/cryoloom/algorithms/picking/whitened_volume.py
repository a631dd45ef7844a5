"""A tomogram without its images, ready to be searched: coarser, whitened, and with matter positive.

Without images there is no noise power of each tilt and no CTF: all that can be made equal is the power of the
volume at each length of frequency. `matched_filter` is better where images are there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.volume_fourier import radial_frequency_rfftn
from cryoloom.model import Pixels

__all__ = ["coarser_volume", "whitened"]

_RINGS = 64
"""Chosen: of the power, finer than it changes."""
_BAND_PER_VOXEL = 0.45
"""Chosen, as for the matched filter: just below Nyquist."""
_LEAST_POWER = 1e-3
"""Fraction of the median ring's power.

A ring with less was filtered out before and carries no information.
"""


def coarser_volume(
    volume: Pixels, binning: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> NDArray[np.float32]:
    """Means of a volume ``(z, y, x)`` over blocks; the centre ``n // 2`` stays the centre.

    For that, blocks of an even number of voxels are one longer, and both ends count half. Voxels at the
    faces that fill no block are left out.
    """
    places = [_block_centres(n, binning) for n in volume.shape]
    weights = _block_weights(binning)
    half = len(weights) // 2
    made = np.empty([len(p) for p in places], np.float32)
    for i, z in enumerate(places[0]):
        plane = np.zeros(volume.shape[1:], np.float32)
        for k, weight in enumerate(weights):
            plane += np.float32(weight) * volume[int(z) + k - half]
        rows = np.zeros((len(places[1]), plane.shape[1]), np.float32)
        for k, weight in enumerate(weights):
            rows += np.float32(weight) * plane[places[1] + k - half]
        made[i] = 0.0
        for k, weight in enumerate(weights):
            made[i] += np.float32(weight) * rows[:, places[2] + k - half]
        progress(i + 1, len(places[0]))
    return made


def whitened(volume: NDArray[np.float32], longest_voxels: float) -> torch.Tensor:
    """The volume with equal power at all lengths of frequency, without variation over more than a length.

    Matter, dark in tomograms, becomes positive.
    """
    shape = volume.shape
    spectrum = torch.fft.rfftn(torch.from_numpy(volume - np.float32(volume.mean())))
    radius = radial_frequency_rfftn(shape)
    ring = torch.clamp((radius * (2 * _RINGS)).round().to(torch.int64), max=_RINGS).reshape(-1)
    count = torch.bincount(ring, minlength=_RINGS + 1)
    total = torch.bincount(ring, spectrum.abs().square().double().reshape(-1), minlength=_RINGS + 1)
    power = (total / count.clamp(min=1)).numpy()
    frequency = np.arange(_RINGS + 1) / (2 * _RINGS)
    inside = (frequency > 0) & (frequency <= _BAND_PER_VOXEL) & (count.numpy() > 0)
    usual = float(np.median(power[inside]))
    seen = inside & (power > _LEAST_POWER * usual)
    band = 1 - np.exp(-math.log(2) * (frequency * longest_voxels) ** 2)
    factor = np.where(seen, band / np.sqrt(np.where(seen, power, 1.0)), 0.0).astype(np.float32)
    spectrum *= torch.from_numpy(factor)[ring].reshape(radius.shape)
    return -torch.fft.irfftn(spectrum, s=shape)


def _block_centres(n: int, binning: int) -> NDArray[np.int64]:
    """Voxels at the centres of whole blocks along an axis of ``n``; entry ``len // 2`` is ``n // 2``."""
    half = binning // 2
    before, after = (n // 2 - half) // binning, (n - 1 - n // 2 - half) // binning
    # A centre at ``m // 2`` has as many entries before it as after it, or one more.
    after = min(after, before)
    before = min(before, after + 1)
    return n // 2 + binning * np.arange(-before, after + 1)


def _block_weights(binning: int) -> NDArray[np.float64]:
    """Symmetric weights of a block; their sum is 1."""
    if binning % 2:
        return np.full(binning, 1.0 / binning)
    weights = np.full(binning + 1, 1.0 / binning)
    weights[[0, -1]] *= 0.5
    return weights
