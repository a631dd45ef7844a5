"""Likelihood gradients of frame shifts, and moved sums, in torch: `frame_shifts_cpu` for CUDA."""

from __future__ import annotations

import torch

__all__ = ["add_moved_torch", "likelihood_gradient_torch", "ring_powers_torch"]


def likelihood_gradient_torch(
    spectra: torch.Tensor,
    ramps_y: torch.Tensor,
    ramps_x: torch.Tensor,
    ring: torch.Tensor,
    reach: torch.Tensor,
    signal_to_noise: torch.Tensor,
    pattern_to_noise: torch.Tensor,
    weight: torch.Tensor,
) -> torch.Tensor:
    """See `cryoloom.kernels.movies.frame_shifts.likelihood_gradient`; on any device."""
    n, n_y = ramps_y.shape
    n_x = ramps_x.shape[1]
    used = _used(ring, reach)
    r = ring.long().clamp(min=0)
    alpha, beta = signal_to_noise[r], pattern_to_noise[r]
    scale = torch.where(used, weight[r], 0.0)
    scale[:, 0] *= 0.5  # both members of a conjugate pair are in this column
    ramps = ramps_y[:, :, None] * ramps_x[:, None, :]
    moved = spectra * ramps
    total, still, overlap = moved.sum(0), spectra.sum(0), ramps.sum(0)
    determinant = (1 + n * alpha) * (1 + n * beta) - alpha * beta * overlap.abs() ** 2
    specimen = ((1 + n * beta) * total - beta * overlap * still) * (alpha / determinant)
    pattern = ((1 + n * alpha) * still - alpha * overlap.conj() * total) * (beta / determinant)
    covariance = -overlap * (alpha * beta / determinant)
    noise = torch.where(weight[r] > 0, 1 / weight[r], 0.0)
    crossed = torch.where(beta == 0, 0.0, pattern * specimen.conj() + covariance.conj() * noise) * scale
    slope = (moved * (specimen.conj() * scale) - ramps * crossed).imag.double()
    index_y = torch.fft.fftfreq(n_y, 1 / n_y, dtype=torch.float64, device=spectra.device)
    index_x = torch.arange(n_x, dtype=torch.float64, device=spectra.device)
    return torch.stack([(slope.sum(2) * index_y).sum(1), (slope.sum(1) * index_x).sum(1)], dim=1)


def ring_powers_torch(
    spectra: torch.Tensor,
    ramps_y: torch.Tensor,
    ramps_x: torch.Tensor,
    ring: torch.Tensor,
    reach: torch.Tensor,
    n_rings: int,
) -> torch.Tensor:
    """See `cryoloom.kernels.movies.frame_shifts.ring_powers`; on any device."""
    ramps = ramps_y[:, :, None] * ramps_x[:, None, :]
    total, still, overlap = (spectra * ramps).sum(0), spectra.sum(0), ramps.sum(0)
    mean = (spectra.abs() ** 2).mean(0)
    values = torch.stack([torch.ones_like(mean), mean, *(z.abs() ** 2 for z in (total, still, overlap))])
    used = _used(ring, reach)
    sums = torch.zeros((5, n_rings), dtype=torch.float64, device=spectra.device)
    return sums.index_add_(1, ring[used].long(), values[:, used].double())


def add_moved_torch(
    sums: torch.Tensor, spectra: torch.Tensor, ramps_y: torch.Tensor, ramps_x: torch.Tensor, first_half: int
) -> None:
    """See `cryoloom.kernels.movies.frame_shifts.add_moved`; on any device."""
    n_y, n_x = sums.shape[1:]
    half = n_y // 2
    for i, (ramp_y, ramp_x) in enumerate(zip(ramps_y, ramps_x, strict=True)):
        cropped = torch.cat([spectra[i, :half, :n_x], spectra[i, spectra.shape[1] - (n_y - half) :, :n_x]])
        sums[(first_half + i) % 2] += cropped * (ramp_y[:, None] * ramp_x)


def _used(ring: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
    """Coefficients ``(y, x)`` that count."""
    column = torch.arange(ring.shape[1], device=ring.device)
    return (ring >= 0) & (column < reach[:, None])
