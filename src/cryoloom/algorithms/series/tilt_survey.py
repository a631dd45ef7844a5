"""One pass over the images of a series: small images, their intensity, and their power by direction."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.image_smear import DirectionalBins, directional_bins, directional_power
from cryoloom.algorithms.series.prepared_arrays import Arrays, Prepared, made_now
from cryoloom.kernels.images.block_mean import block_mean
from cryoloom.kernels.tensors import tensor_over
from cryoloom.model.pixels import Pixels

__all__ = ["TiltSurvey", "survey_image", "survey_tilts"]

Array = NDArray[np.float64]

N_BLOCKS = 16
"""Chosen, along each side: a shadow of a grid bar covers several blocks."""
SMALL_SIDE_PX = 512
"""Chosen: of the images that are correlated, which need no detail."""
# Power is needed to 12 A, at 0.4 of the sampling frequency: pixels of 4.8 A; up to 6 A serve nearly as well.
POWER_PIXEL_ANGSTROM = 6.0
_ROWS_BYTES = 4 << 20  # read at a time: stays in the cache, and its memory is reused


@dataclass(frozen=True, slots=True)
class TiltSurvey:
    """Result of one pass over the images; the first axis is that of the given sections."""

    small: NDArray[np.float32]
    """Images binned to a shorter side of about 512 pixels, ``(tilt, y, x)``."""
    small_pixel_size_angstrom: float
    mean: Array
    """Mean counts per pixel of the stack, ``(tilt,)``."""
    blocks: Array
    """Means of a grid of blocks, ``(tilt, 16, 16)``."""
    bins: DirectionalBins
    power: Array
    """Power in the bins, ``(tilt, bin)``, of images binned to `bins`' pixels."""
    noise_power: Array
    """The noise's part of it."""


def survey_tilts(
    images: Pixels,
    even: Pixels | None,
    sections: NDArray[np.int64],
    pixel_size_angstrom: float,
    n_threads: int,
    progress: Callable[[int, int], None],
    prepared: Prepared = made_now,
) -> TiltSurvey:
    """Read every section once, and the even halves of a few, whose difference from the rest is noise.

    prepared : gives what `survey_image` makes of a section.
    """
    factor = _power_factor(pixel_size_angstrom)
    n_y, n_x = (n // factor for n in images.shape[1:])
    again = _again(n_y, n_x)
    n = len(sections)
    small = np.empty((n, n_y // again, n_x // again), np.float32)
    bins = directional_bins((n_y, n_x), pixel_size_angstrom * factor)
    mean, blocks = np.zeros(n), np.zeros((n, N_BLOCKS, N_BLOCKS))
    power, noise = np.zeros((2, n, len(bins.counts)))
    # Noise of counted electrons is proportional to the mean: a few tilts give its spectrum.
    with_noise = set(np.linspace(0, n - 1, min(n, 5)).round().astype(int)) if even is not None else set()

    def look(i: int) -> int:
        section = int(sections[i])
        seen = prepared(section, lambda: survey_image(images, section, pixel_size_angstrom, bins))
        small[i], mean[i], blocks[i] = seen["small"], seen["mean"], seen["blocks"]
        power[i], noise[i] = seen["power"], seen["finest"]
        if even is not None and i in with_noise:
            difference = 2 * _binned(even, section, factor) - _binned(images, section, factor)
            noise[i], _ = directional_power(difference, bins)
        return i

    with ThreadPoolExecutor(n_threads) as pool:
        for done, _ in enumerate(pool.map(look, range(n)), start=1):
            progress(done, n)
    if with_noise:
        chosen = sorted(with_noise)
        counts = np.maximum(mean, 1e-9) if mean.min() > 0 else np.ones(n)
        noise = np.median(noise[chosen] / counts[chosen, None], axis=0) * counts[:, None]
    small_pixel = pixel_size_angstrom * factor * again
    return TiltSurvey(small, small_pixel, mean, blocks, bins, power, noise)


def survey_image(
    images: Pixels, section: int, pixel_size_angstrom: float, bins: DirectionalBins | None = None
) -> Arrays:
    """What the survey keeps of one image: ``small``, ``mean``, ``blocks``, ``power``; ``finest`` detail's."""
    factor = _power_factor(pixel_size_angstrom)
    image = _binned(images, section, factor)
    n_y, n_x = image.shape
    again = _again(n_y, n_x)
    small = np.empty((n_y // again, n_x // again), np.float32)
    block_mean(torch.from_numpy(image[: small.shape[0] * again]), torch.from_numpy(small))
    bins = bins or directional_bins((n_y, n_x), pixel_size_angstrom * factor)
    power, finest = directional_power(image, bins)
    return {
        "small": small,
        "mean": np.asarray(image.mean(dtype=np.float64)),
        "blocks": _block_means(image),
        "power": power,
        "finest": np.asarray(finest),
    }


def _again(n_y: int, n_x: int) -> int:
    """Binning of the small images relative to those whose power is measured."""
    return max(1, min(n_y, n_x) // SMALL_SIDE_PX)


def _power_factor(pixel_size_angstrom: float) -> int:
    return max(1, int(POWER_PIXEL_ANGSTROM / pixel_size_angstrom))


def _binned(pixels: Pixels, section: int, factor: int) -> NDArray[np.float32]:
    """One section averaged over blocks of ``factor`` squared pixels.

    Values that are not finite count as 0.
    """
    n_y, n_x = (n // factor for n in pixels.shape[1:])
    image = np.empty((n_y, n_x), np.float32)
    n_rows = max(1, _ROWS_BYTES // (4 * pixels.shape[2] * factor))
    for top in range(0, n_y, n_rows):
        part = image[top : top + n_rows]
        rows = pixels[section, top * factor : (top + len(part)) * factor]
        block_mean(tensor_over(np.ascontiguousarray(rows, dtype=np.float32)), torch.from_numpy(part))
    return image


def _block_means(image: NDArray[np.float32]) -> Array:
    n_y, n_x = (n // N_BLOCKS * N_BLOCKS for n in image.shape)
    parts = image[:n_y, :n_x].reshape(N_BLOCKS, n_y // N_BLOCKS, N_BLOCKS, n_x // N_BLOCKS)
    return np.asarray(parts.mean(axis=(1, 3)), dtype=np.float64)
