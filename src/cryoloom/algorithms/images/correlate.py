"""Position of one image in another: half-whitened cross-correlation with sub-pixel peaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from cryoloom.algorithms.images.parabola import vertex_offset
from cryoloom.algorithms.images.single_thread_pool import of_each

__all__ = [
    "Overlap",
    "Peaks",
    "correlation_peaks",
    "cross_correlation",
    "find_peaks",
    "half_whitened",
    "overlap_correlation",
    "refine_parabola",
]

Item = TypeVar("Item")


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


@dataclass(frozen=True, slots=True)
class Overlap:
    """Image ``(..., y, x)`` and its window of the same shape: 1 where it has pixels, 0 outside."""

    image: torch.Tensor
    window: torch.Tensor


def half_whitened(images: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    """Images whose plain correlation is the half-whitened one; response : (y, x // 2 + 1) band-pass."""
    shape = (int(images.shape[-2]), int(images.shape[-1]))
    spectra = torch.fft.rfft2(images)
    amplitude = spectra.abs()
    floor = amplitude.mean(dim=(-2, -1), keepdim=True) * 1e-3 + 1e-20
    filtered = torch.fft.irfft2(spectra * (amplitude + floor) ** -0.5 * response.sqrt(), s=shape)
    return filtered / (filtered.flatten(-2).std(dim=-1)[..., None, None] + 1e-20)


def overlap_correlation(
    reference: Overlap, moving: Overlap, *, least_overlap: float = 0.25, side_by_side: bool = False
) -> torch.Tensor:
    """Correlation maps ``(..., y, x)``, unshifted, normalised at every shift by the pixels both images have.

    Images have about zero mean and are padded against wrap-around. The coefficient (-1 to 1) is multiplied by
    the root of the overlap, which makes chance heights alike; 0 below ``least_overlap`` of the largest one.
    side_by_side : transform several at a time, for large images that come one after the other.
    """
    each = of_each if side_by_side else _one_by_one
    shape = (int(moving.image.shape[-2]), int(moving.image.shape[-1]))

    def correlated(pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return torch.fft.irfft2(pair[1] * pair[0].conj(), s=shape)

    here = [reference.image * reference.window, reference.image**2 * reference.window, reference.window]
    there = [moving.image * moving.window, moving.image**2 * moving.window, moving.window]
    image_a, power_a, window_a, image_b, power_b, window_b = each(torch.fft.rfft2, [*here, *there])
    overlap, power_there, power_here, product = each(
        correlated, [(window_a, window_b), (power_a, window_b), (window_a, power_b), (image_a, image_b)]
    )
    largest = overlap.amax(dim=(-2, -1), keepdim=True)
    enough = overlap > least_overlap * largest
    norm = power_there.clamp(min=0) * power_here.clamp(min=0)
    floor = 1e-6 * norm.amax(dim=(-2, -1), keepdim=True) + 1e-20
    coefficient = product / torch.sqrt(norm + floor)
    return torch.where(enough, coefficient * torch.sqrt(overlap / largest), torch.zeros_like(overlap))


def _one_by_one(work: Callable[[Item], torch.Tensor], items: Sequence[Item]) -> list[torch.Tensor]:
    return [work(item) for item in items]


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

    offset: torch.Tensor = vertex_offset(at(-1), at(0), at(1))
    return offset


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
