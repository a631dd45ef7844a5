"""Power spectra of overlapping tiles of one image, averaged in bins in which Thon rings are straight.

Rings are periodic in the *square* of the frequency, so each tile's spectrum is averaged in bins that are
uniform in k^2 and in direction: no information on the defocus is lost, and a fit does not need the pixels
again.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.fourier import fourier_resize, good_fft_size
from cryoloom.geometry.frames import binned_shape
from cryoloom.kernels.images.tile_powers import tile_powers

__all__ = ["SpectrumBand", "TileSpectra", "tile_spectra"]

N_SECTORS = 12
N_RINGS = 400
LAGS = 65
"""Chosen: sectors in which astigmatism is a change of phase, rings finer than Thon rings of usual defocus,
and steps of the taper's correlation."""


@dataclass(frozen=True, slots=True)
class SpectrumBand:
    """The frequencies looked at, and their bins: uniform in k^2 and in direction over 180 degrees."""

    low_per_angstrom: float
    high_per_angstrom: float
    n_rings: int = N_RINGS
    n_sectors: int = N_SECTORS

    @property
    def squared_frequency(self) -> NDArray[np.float64]:
        """k^2 at the centre of each ring bin, ``(ring,)`` in 1/angstrom^2; not to be changed."""
        return _squared_frequency(self)

    @property
    def frequency(self) -> NDArray[np.float64]:
        """K of each ring bin, ``(ring,)`` in 1/angstrom; not to be changed."""
        return _frequency(self)

    @property
    def sector_angle_rad(self) -> NDArray[np.float64]:
        """Direction at the centre of each sector, ``(sector,)``, from +x, counter-clockwise."""
        return (np.arange(self.n_sectors) + 0.5) * math.pi / self.n_sectors


@functools.lru_cache(maxsize=8)  # fits need them thousands of times
def _squared_frequency(band: SpectrumBand) -> NDArray[np.float64]:
    low, high = band.low_per_angstrom**2, band.high_per_angstrom**2
    values = low + (np.arange(band.n_rings) + 0.5) * (high - low) / band.n_rings
    values.flags.writeable = False
    return values


@functools.lru_cache(maxsize=8)
def _frequency(band: SpectrumBand) -> NDArray[np.float64]:
    values = np.sqrt(_squared_frequency(band))
    values.flags.writeable = False
    return values


@dataclass(frozen=True, slots=True)
class TileSpectra:
    """Mean power of the tiles of one image in the bins of ``band``."""

    band: SpectrumBand
    power: NDArray[np.float32]
    """``(tile, sector, ring)``; white noise of variance v gives v. 0 where the bin contains no frequency."""
    counts: NDArray[np.float32]
    """Frequencies averaged in each bin, ``(sector, ring)``."""
    centres_xy_angstrom: NDArray[np.float64]
    """Tile centres, ``(tile, 2)``, from the image's centre."""
    tile_angstrom: float
    """Edge of a tile."""
    independence: float
    """Independent values per frequency counted: tiles overlap, and the taper couples neighbours."""
    noise_at_lag: NDArray[np.float64]
    """The taper smooths noise too: its variance in a modulation of the spectrum that comes from points
    ``u`` tile edges apart, relative to a slow modulation, at `LAGS` values of u from 0 to 1."""


def tile_spectra(
    image: torch.Tensor,
    pixel_size_angstrom: float,
    band: SpectrumBand,
    tile_angstrom: float,
    max_tiles: int = 100,
) -> TileSpectra:
    """Spectra of Hann-tapered tiles of an image ``(y, x)``, half a tile apart where ``max_tiles`` allows.

    An image of pixels far finer than ``band`` needs is first Fourier-cropped. Frequencies on the two axes
    are left out: a camera's lines and columns put their power there.
    """
    # Ten per cent beyond the band: the cropping's edge must not be in it.
    binning = max(1.0, 1.0 / (2.2 * band.high_per_angstrom * pixel_size_angstrom))
    edge = _tile_edge(image.shape, pixel_size_angstrom, tile_angstrom)
    starts_y, starts_x = _tile_starts((image.shape[0], image.shape[1]), edge, max_tiles)
    # Transforming tiles directly costs less than resampling the whole image, until there are too many.
    if len(starts_y) * len(starts_x) * edge**2 <= 2 * image.numel():
        binning = 1.0
    n_y, n_x = binned_shape((image.shape[0], image.shape[1]), binning)
    work = fourier_resize(image, (n_y, n_x)) if binning > 1.0 else image
    # Cropping to whole pixels leaves them slightly oblong; taken as square they would be a false astigmatism.
    pixel_yx_angstrom = tuple(
        pixel_size_angstrom * n / work_n for n, work_n in zip(image.shape, work.shape, strict=True)
    )
    work_pixel_angstrom = sum(pixel_yx_angstrom) / 2
    edge = _tile_edge(work.shape, work_pixel_angstrom, tile_angstrom)
    starts_y, starts_x = _tile_starts((work.shape[0], work.shape[1]), edge, max_tiles)

    taper = torch.hann_window(edge, dtype=work.dtype, device=work.device)
    window = taper[:, None] * taper[None, :]
    bins, counts = _bins(edge, pixel_yx_angstrom, band)
    on_device = torch.from_numpy(bins).to(work.device)
    power = tile_powers(work, starts_y, starts_x, window, on_device, len(counts)).cpu().numpy()
    power /= float(window.square().sum()) * np.maximum(counts, 1.0)
    centres = np.stack(np.meshgrid(starts_x, starts_y), axis=-1).reshape(-1, 2) + edge // 2
    image_centre = np.array([work.shape[1] // 2, work.shape[0] // 2])
    profile = taper.cpu().numpy().astype(np.float64)
    noise_y, noise_x = (_noise_at_lag(profile, starts) for starts in (starts_y, starts_x))
    return TileSpectra(
        band,
        power.reshape(-1, band.n_sectors, band.n_rings),
        counts.reshape(band.n_sectors, band.n_rings),
        (centres - image_centre) * np.array(pixel_yx_angstrom[::-1]),
        edge * work_pixel_angstrom,
        _independence(profile, noise_y[0], len(starts_y)) * _independence(profile, noise_x[0], len(starts_x)),
        0.5 * (noise_y / noise_y[0] + noise_x / noise_x[0]),
    )


def _tile_edge(shape_yx: tuple[int, ...], pixel_size_angstrom: float, tile_angstrom: float) -> int:
    """Edge of a tile of at least the given size that transforms fast, or that of the image."""
    edge = min(good_fft_size(round(tile_angstrom / pixel_size_angstrom)), *shape_yx)
    return edge - edge % 2


def _tile_starts(shape_yx: tuple[int, int], edge: int, max_tiles: int) -> tuple[list[int], list[int]]:
    """First pixel of each row and column of tiles: evenly spread, at most half a tile apart if allowed."""
    spans = [n - edge for n in shape_yx]
    counts = [1 + math.ceil(2 * span / edge) for span in spans]
    excess = counts[0] * counts[1] / max_tiles
    if excess > 1:
        counts = [max(2, math.floor(n / math.sqrt(excess))) if n > 1 else 1 for n in counts]
    starts = [
        np.round(np.linspace(0, span, n)).astype(int).tolist() for span, n in zip(spans, counts, strict=True)
    ]
    return starts[0], starts[1]


def _bins(
    edge: int, pixel_yx_angstrom: tuple[float, ...], band: SpectrumBand
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Bin ``sector * n_rings + ring`` of each frequency of an rfft2, ``(y * x,)``, or -1; counts per bin."""
    index_y, index_x = np.fft.fftfreq(edge, 1 / edge)[:, None], np.arange(edge // 2 + 1)[None, :]
    frequency_y, frequency_x = (
        index_y / (edge * pixel_yx_angstrom[0]),
        index_x / (edge * pixel_yx_angstrom[1]),
    )
    squared = frequency_x**2 + frequency_y**2
    low, high = band.low_per_angstrom**2, band.high_per_angstrom**2
    ring = np.floor((squared - low) / (high - low) * band.n_rings).astype(int)
    angle = np.mod(np.arctan2(frequency_y, frequency_x), math.pi)
    sector = np.minimum((angle / math.pi * band.n_sectors).astype(int), band.n_sectors - 1)
    kept = (ring >= 0) & (ring < band.n_rings) & (np.abs(index_y) > 1) & (index_x > 1)
    bins = np.where(kept, sector * band.n_rings + ring, -1).ravel().astype(np.int32)
    counts = np.bincount(bins[bins >= 0], minlength=band.n_sectors * band.n_rings).astype(np.float32)
    return bins, counts


def _noise_at_lag(taper: NDArray[np.float64], starts: list[int]) -> NDArray[np.float64]:
    """Sum over pairs of tiles of the autocorrelation of the product of their tapers, at `LAGS` distances.

    The covariance of two power values is the squared correlation of their amplitudes; its transform over the
    frequency lag (Parseval) is that autocorrelation. The value at lag 0 is the multiplicity of the same
    information.
    """
    n = len(taper)
    total = np.zeros(LAGS)
    offsets, repeats = np.unique(np.abs(np.subtract.outer(starts, starts)), return_counts=True)
    for offset, repeat in zip(offsets[offsets < n], repeats[offsets < n], strict=True):
        product = np.zeros(2 * n)
        product[: n - offset] = taper[offset:] * taper[: n - offset]
        correlation = np.fft.irfft(np.abs(np.fft.rfft(product)) ** 2)[:n]
        total += repeat * np.interp(np.linspace(0, n - 1, LAGS), np.arange(n), correlation)
    return total


def _independence(taper: NDArray[np.float64], noise_at_zero_lag: float, n_tiles: int) -> float:
    """Independent values per tile and frequency along one direction."""
    return n_tiles * float(np.sum(taper**2)) ** 2 / (len(taper) * noise_at_zero_lag)
