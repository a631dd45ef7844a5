"""Where one image lies in another: half-whitened cross-correlation with sub-pixel peaks."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Peaks", "correlation_peaks", "cross_correlation", "find_peaks", "refine_parabola"]


@dataclass(frozen=True, slots=True)
class Peaks:
    """Best shift of each pair: ``shifts_yx_px`` ``(..., 2)``, ``height`` and ``prominence`` ``(...)``.

    Height is the correlation at the peak, prominence its height over the map's deviation.
    """

    shifts_yx_px: torch.Tensor
    height: torch.Tensor
    prominence: torch.Tensor


def cross_correlation(
    reference: torch.Tensor, moving: torch.Tensor, response: torch.Tensor, *, whitening: float = 0.5
) -> torch.Tensor:
    """Correlation maps ``(..., y, x)``, unshifted, that peak where ``moving`` lies relative to ``reference``.

    reference, moving : (..., y, x) tapered images. response : (y, x // 2 + 1) band-pass. whitening : power of
    the cross-spectrum's amplitude divided out; 0.5 as in AreTomo lies between plain and phase correlation.
    """
    shape = (int(moving.shape[-2]), int(moving.shape[-1]))
    cross = torch.fft.rfft2(moving) * torch.fft.rfft2(reference).conj() * response
    amplitude = cross.abs()
    floor = amplitude.mean(dim=(-2, -1), keepdim=True) * 1e-3 + 1e-20
    cross = cross * (amplitude + floor) ** -whitening
    norm = cross.abs().sum(dim=(-2, -1), keepdim=True) * 2 + 1e-20
    return torch.fft.irfft2(cross / norm, s=shape) * (shape[0] * shape[1])


def find_peaks(maps: torch.Tensor, max_shift_px: float) -> Peaks:
    """Highest point within ``max_shift_px`` of no shift in maps ``(..., y, x)``, to a fraction of a pixel."""
    n_y, n_x = int(maps.shape[-2]), int(maps.shape[-1])
    lag_y = torch.fft.fftfreq(n_y, 1 / n_y, device=maps.device)
    lag_x = torch.fft.fftfreq(n_x, 1 / n_x, device=maps.device)
    allowed = torch.hypot(lag_y[:, None], lag_x[None, :]) <= max_shift_px
    flat = maps.masked_fill(~allowed, -torch.inf).flatten(-2)
    height, index = flat.max(dim=-1)
    row, column = index // n_x, index % n_x
    shift_y = lag_y[row] + refine_parabola(maps, row, column, axis=0)
    shift_x = lag_x[column] + refine_parabola(maps, row, column, axis=1)
    deviation = maps.flatten(-2).std(dim=-1) + 1e-20
    return Peaks(torch.stack([shift_y, shift_x], dim=-1), height, height / deviation)


def refine_parabola(
    maps: torch.Tensor, row: torch.Tensor, column: torch.Tensor, *, axis: int
) -> torch.Tensor:
    """Vertex of the parabola through the pixel and its two (periodic) neighbours, within half a pixel."""
    n_y, n_x = int(maps.shape[-2]), int(maps.shape[-1])
    flat = maps.flatten(-2)

    def at(offset: int) -> torch.Tensor:
        r = (row + offset) % n_y if axis == 0 else row
        c = (column + offset) % n_x if axis == 1 else column
        return torch.gather(flat, -1, (r * n_x + c)[..., None])[..., 0]

    below, here, above = at(-1), at(0), at(1)
    curvature = below - 2 * here + above
    step = 0.5 * (below - above) / torch.where(curvature < 0, curvature, -torch.ones_like(curvature))
    return torch.where(curvature < 0, step, torch.zeros_like(step)).clamp(-0.5, 0.5)


def correlation_peaks(
    reference: torch.Tensor,
    moving: torch.Tensor,
    response: torch.Tensor,
    max_shift_px: float,
    *,
    whitening: float = 0.5,
) -> Peaks:
    """Peaks of the correlation of tapered images ``(..., y, x)``."""
    return find_peaks(cross_correlation(reference, moving, response, whitening=whitening), max_shift_px)
