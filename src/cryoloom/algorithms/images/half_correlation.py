"""Correlation of two halves of the data by frequency."""

from __future__ import annotations

import torch

from cryoloom.algorithms.images.volume_fourier import radial_frequency_rfftn

__all__ = ["shell_correlation", "smoothed_crossing_per_px"]


def shell_correlation(
    one: torch.Tensor, other: torch.Tensor, n_shells: int = 40
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fourier shell correlation of two volumes ``(z, y, x)``: frequency in cycles per voxel, correlation.

    Both are windowed by a raised cosine along every axis, so that faces do not correlate. Shells reach to
    Nyquist; a shell without data is 0.
    """
    window = torch.ones((), dtype=torch.float32, device=one.device)
    for n in one.shape:
        window = window[..., None] * torch.hann_window(n, periodic=False, device=one.device)
    spectra = [torch.fft.rfftn((volume - volume.mean()) * window) for volume in (one, other)]
    shell = (radial_frequency_rfftn(one.shape, one.device) * (2 * n_shells)).long()
    kept = shell < n_shells
    index = shell[kept]

    def per_shell(values: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(n_shells, dtype=torch.float64, device=one.device)
        return total.index_add_(0, index, values[kept].to(torch.float64))

    cross = per_shell((spectra[0] * spectra[1].conj()).real)
    power = [per_shell(spectrum.abs() ** 2) for spectrum in spectra]
    frequency = (torch.arange(n_shells) + 0.5) / (2 * n_shells)
    return frequency, (cross / (power[0] * power[1]).sqrt().clamp(min=1e-30)).to(torch.float32).cpu()


def smoothed_crossing_per_px(frequency: torch.Tensor, correlation: torch.Tensor, threshold: float) -> float:
    """Frequency up to which the running mean of three shells stays at or above the threshold; 0 if never."""
    padded = torch.cat([correlation[:1], correlation, correlation[-1:]])
    smooth = padded.unfold(0, 3, 1).mean(dim=1)
    below = torch.nonzero(smooth < threshold)
    if below.numel() == 0:
        return float(frequency[-1])
    first = int(below[0])
    return float(frequency[first - 1]) if first > 0 else 0.0
