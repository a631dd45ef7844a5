"""Resolution to which the rings of an image are visible: the equiphase profile and the fit resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.defocus_fit import DefocusFit, RingData, RingTemplate, ring_phase, tile_offsets

__all__ = ["RingProfile", "fit_resolution_angstrom", "ring_profile"]

# CTFFIND's convention: the fit is good to where the correlation of rings and model is a half.
CORRELATION_THRESHOLD = 0.5
SAMPLES_PER_RING = 8
WINDOW_SAMPLES = 16
"""Chosen: a ring is resolved by eight samples; the correlation is that of two rings."""


@dataclass(frozen=True, slots=True)
class RingProfile:
    """Whitened spectrum along the rings: samples of equal phase, eight per ring."""

    frequency_per_angstrom: NDArray[np.float64]
    """``(sample,)``, at the image's mean defocus."""
    spectrum: NDArray[np.float64]
    model: NDArray[np.float64]
    """Expected modulation in the same samples."""
    rings: NDArray[np.float64]
    """``-cos 2 chi``, the model without its envelope."""

    @property
    def local_correlation(self) -> NDArray[np.float64]:
        """Correlation of spectrum and rings in a window of two rings about each sample, ``(sample,)``."""
        window = np.ones(min(WINDOW_SAMPLES, len(self.rings)))

        def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
            # Divide by the part of the window inside, so that the ends are means as well.
            return np.convolve(values, window, "same") / np.convolve(np.ones_like(values), window, "same")

        x, y = self.spectrum - mean(self.spectrum), self.rings - mean(self.rings)
        return mean(x * y) / np.sqrt(np.maximum(mean(x**2) * mean(y**2), 1e-20))

    def correlation(self, resolution_angstrom: float | None = None) -> float:
        """Correlation of spectrum and rings to a resolution, -1 to 1."""
        kept = self.frequency_per_angstrom <= (
            np.inf if resolution_angstrom is None else 1 / resolution_angstrom
        )
        if kept.sum() < WINDOW_SAMPLES or np.ptp(self.spectrum[kept]) == 0:
            return 0.0
        return float(np.corrcoef(self.spectrum[kept], self.rings[kept])[0, 1])


def ring_profile(
    data: RingData, template: RingTemplate, fit: DefocusFit, slope: NDArray[np.float64]
) -> RingProfile:
    """Average over all tiles and directions at equal phase of their rings.

    Equiphase averaging (Zhang, J. Struct. Biol. 193, 2016) with the tilt's own defocus in every tile.
    """
    offsets = tile_offsets(data, slope, fit.axial_angstrom, fit.diagonal_angstrom)
    phase = ring_phase(data, fit.defocus_angstrom + offsets)
    mean_phase = (
        ring_phase(data, torch.tensor(fit.defocus_angstrom, device=phase.device)).double().cpu().numpy()
    )
    sample = torch.floor(phase * (SAMPLES_PER_RING / (2 * np.pi))).long()
    first = int(np.floor(mean_phase.min() * SAMPLES_PER_RING / (2 * np.pi))) + 1
    last = int(np.floor(mean_phase.max() * SAMPLES_PER_RING / (2 * np.pi))) - 1
    n_samples = max(last - first + 1, 0)
    inside = (sample >= first) & (sample <= last)
    index = (sample - first)[inside].cpu().numpy()
    weight = data.weight.expand_as(data.residual)[inside].cpu().numpy().astype(np.float64)

    weights = np.maximum(np.bincount(index, weight, minlength=n_samples), 1e-9)

    def average(values: torch.Tensor) -> NDArray[np.float64]:
        total = np.bincount(index, weight * values[inside].cpu().numpy(), minlength=n_samples)
        return total / weights

    middle = (np.arange(first, first + n_samples) + 0.5) * 2 * np.pi / SAMPLES_PER_RING
    frequency = np.interp(middle, mean_phase, data.band.frequency)
    model = -template.modulation * torch.cos(phase)
    return RingProfile(frequency, average(data.residual), average(model), -np.cos(middle))


def fit_resolution_angstrom(profile: RingProfile) -> float | None:
    """Resolution to which rings are visible: the local correlation then stays below a half for two rings.

    None if they are not visible at all.
    """
    good = profile.local_correlation >= CORRELATION_THRESHOLD
    if len(good) < WINDOW_SAMPLES:
        return None
    misses, last = 0, -1
    for i, is_good in enumerate(good):
        misses = 0 if is_good else misses + 1
        if is_good:
            last = i
        # The lowest rings are hidden in the specimen's own spectrum: before the first good sample patience is
        # doubled.
        if misses > (WINDOW_SAMPLES if last >= 0 else 3 * WINDOW_SAMPLES):
            break
    return None if last < WINDOW_SAMPLES // 2 else float(1.0 / profile.frequency_per_angstrom[last])
