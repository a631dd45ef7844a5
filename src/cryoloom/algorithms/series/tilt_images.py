"""Working images of a tilt series: small, flat, without outliers, for correlation."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.fourier import fourier_resize, radial_frequency_rfft
from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.images.single_thread_pool import each_image
from cryoloom.algorithms.series.low_frequencies import Window, low_frequencies
from cryoloom.algorithms.series.prepared_arrays import Arrays, Prepared, made_now
from cryoloom.geometry.frames import binned_shape
from cryoloom.model.pixels import Pixels

__all__ = [
    "TiltImages",
    "WorkingImages",
    "band_pass",
    "band_response",
    "edge_taper",
    "load_tilt_images",
    "shrink_images",
]

_NOT_WORTH_BINNING = 1.2
"""Chosen: below this, smaller images save little."""


@dataclass(frozen=True, slots=True)
class TiltImages:
    """Images ``(tilt, y, x)`` float32 of about zero mean and unit deviation, dark specimen kept dark.

    ``mean`` and ``deviation`` ``(tilt,)`` are those of the images before normalising, in counts.
    """

    images: torch.Tensor
    pixel_size_angstrom: float
    mean: NDArray[np.float64] = field(repr=False)
    deviation: NDArray[np.float64] = field(repr=False)

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Image shape."""
        return int(self.images.shape[1]), int(self.images.shape[2])

    @property
    def field_angstrom(self) -> float:
        """Shorter side of the field."""
        return min(self.shape_yx) * self.pixel_size_angstrom


def load_tilt_images(
    pixels: Pixels,
    pixel_size_angstrom: float,
    working_pixel_angstrom: float,
    *,
    highpass_angstrom: float = 1500.0,
    clip_deviations: float = 6.0,
    device: str = "cpu",
    prepared: Prepared = made_now,
) -> TiltImages:
    """Bin a stack ``(tilt, y, x)`` by a whole factor in Fourier space, tilt by tilt; flatten and clip it.

    The factor is whole and up to that many edge pixels are dropped about the centre, so that pixels stay
    square and index ``n // 2`` stays the centre. prepared : gives what `WorkingImages.of` makes of a section.
    """
    working = WorkingImages(
        pixels, pixel_size_angstrom, working_pixel_angstrom, highpass_angstrom, clip_deviations, device
    )
    n_tilts = pixels.shape[0]
    images = torch.empty((n_tilts, *working.shape_yx), dtype=torch.float32, device=device)
    mean, deviation = np.zeros(n_tilts), np.zeros(n_tilts)

    def load(i: int) -> None:
        made = prepared(i, lambda: working.of(i))
        mean[i], deviation[i] = made["moments"]
        images[i] = torch.from_numpy(np.asarray(made["image"])).to(device)

    for _ in each_image(load, n_tilts):
        pass
    return TiltImages(images, working.made_pixel_angstrom, mean, deviation)


@dataclass(frozen=True)
class WorkingImages:
    """How the working images of a stack are made, one by one."""

    pixels: Pixels
    pixel_size_angstrom: float
    working_pixel_angstrom: float
    highpass_angstrom: float = 1500.0
    clip_deviations: float = 6.0
    device: str = "cpu"

    @property
    def binning(self) -> int:
        """Pixels of the stack to one of theirs."""
        return max(1, round(self.working_pixel_angstrom / self.pixel_size_angstrom))

    @property
    def made_pixel_angstrom(self) -> float:
        """Their pixel size."""
        return self.pixel_size_angstrom * self.binning

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Their shape."""
        _, n_y, n_x = self.pixels.shape
        return 2 * (n_y // (2 * self.binning)), 2 * (n_x // (2 * self.binning))

    @property
    def settings(self) -> tuple[object, ...]:
        """Everything except the images of the stack on which they depend."""
        return (
            self.pixel_size_angstrom,
            self.binning,
            self.highpass_angstrom,
            self.clip_deviations,
            self.device,
        )

    def of(self, section: int) -> Arrays:
        """The ``image`` of a section, and its ``moments`` before normalising: mean and deviation."""
        _, n_y, n_x = self.pixels.shape
        starts = [n // 2 - m * self.binning // 2 for n, m in zip((n_y, n_x), self.shape_yx, strict=True)]
        rows, columns = (range(a, a + m * self.binning) for a, m in zip(starts, self.shape_yx, strict=True))
        image = _binned(
            self.pixels, section, Window(rows, columns), self.shape_yx, self._scratch, self.device
        )
        moments = np.array([float(image.mean()), float(image.std())])
        flat = _flattened(image, self.highpass_angstrom / self.made_pixel_angstrom, self.clip_deviations)
        return {"image": flat.cpu().numpy(), "moments": moments}

    @functools.cached_property
    def _scratch(self) -> ScratchBuffers:
        return ScratchBuffers()


def _binned(
    pixels: Pixels,
    section: int,
    window: Window,
    shape_yx: tuple[int, int],
    scratch: ScratchBuffers,
    device: str,
) -> torch.Tensor:
    """A window of an image, resampled to a shape; pixels that are no numbers count as 0."""
    if window.shape_yx == shape_yx:
        y, x = window.rows, window.columns
        raw = np.ascontiguousarray(pixels[section, y.start : y.stop, x.start : x.stop], dtype=np.float32)
        return torch.nan_to_num(torch.from_numpy(raw).to(device), posinf=0.0, neginf=0.0)
    low = low_frequencies(pixels, section, shape_yx, scratch, window=window, skip_missing=True, device=device)
    return torch.fft.irfft2(low.spectrum, s=shape_yx)


def _flattened(image: torch.Tensor, highpass_px: float, clip_deviations: float) -> torch.Tensor:
    """Without slow background, outliers clipped about the median, unit deviation by the median deviation."""
    flat = image - image.mean()
    for _ in range(2):
        sample = flat[::3, ::3]  # a ninth of the pixels gives median and spread to a part in a hundred
        middle = sample.median()
        spread = float((sample - middle).abs().median()) * 1.4826
        if spread <= 0:
            return torch.zeros_like(flat)
        # A bead is a broad extreme and survives at this size; a hot pixel or grid bar must not dominate.
        flat = (flat - middle).clamp(-3 * clip_deviations * spread, clip_deviations * spread)
        flat = band_pass(flat, highpass_px, 0.0)
    sample = flat[::3, ::3]
    spread = float((sample - sample.median()).abs().median()) * 1.4826
    return flat / max(spread, 1e-12)


def shrink_images(images: TiltImages, side: int) -> TiltImages:
    """Images with a shorter side of about ``side`` pixels; square pixels to a part in 200."""
    binning = min(images.shape_yx) / side
    if binning <= _NOT_WORTH_BINNING:
        return images
    shape = binned_shape(images.shape_yx, binning)
    small = fourier_resize(images.images, (shape[0], shape[1]))
    spread = small.flatten(1).std(dim=1)[:, None, None] + 1e-9
    pixel = images.pixel_size_angstrom * images.shape_yx[0] / shape[0]
    return TiltImages(small / spread, pixel, images.mean, images.deviation)


def band_pass(images: torch.Tensor, highpass_px: float, lowpass_px: float) -> torch.Tensor:
    """Keep detail between the two periods (pixels; 0 leaves that end open), with Gaussian edges."""
    shape = (int(images.shape[-2]), int(images.shape[-1]))
    response = band_response(shape, highpass_px, lowpass_px, images.device)
    return torch.fft.irfft2(torch.fft.rfft2(images) * response, s=shape)


@functools.lru_cache(maxsize=16)
def band_response(
    shape_yx: tuple[int, int], highpass_px: float, lowpass_px: float, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Response ``(y, x // 2 + 1)`` of `band_pass`; half amplitude at the two periods."""
    frequency = radial_frequency_rfft(shape_yx, device)
    response = torch.ones_like(frequency)
    if highpass_px > 0:
        response = response * (1 - torch.exp(-np.log(2) * (frequency * highpass_px) ** 2))
    if lowpass_px > 0:
        response = response * torch.exp(-np.log(2) * (frequency * lowpass_px) ** 2)
    return response


def edge_taper(shape_yx: tuple[int, int], width: float, device: torch.device | str = "cpu") -> torch.Tensor:
    """Window that falls to 0 at the edges as a cosine over ``width`` (fraction of each side), ``(y, x)``."""
    sides = []
    for n in shape_yx:
        distance = torch.minimum(torch.arange(n) + 0.5, n - torch.arange(n) - 0.5) / max(width * n, 1e-6)
        sides.append(0.5 - 0.5 * torch.cos(torch.pi * distance.clamp(max=1.0)))
    return (sides[0][:, None] * sides[1][None, :]).to(device=device, dtype=torch.float32)
