"""Images in the frame of their tilt axis: the pose is applied before back-projection.

In the aligned frame the axis is y and passes through the centre. With a pose's rotations (conventions.md,
"Projection") a specimen point ``(x, y, z)`` projects to row ``v = y - z tan(x_tilt)`` and column
``u = x cos(tilt) + z sin(tilt) / cos(x_tilt)`` of it, if the image is sampled at
``shift + magnification Rz(axis) (u + v sin(x_tilt) sin(tilt), v cos(x_tilt))``: an x-tilt shears the image,
so that a column is the same for all rows of the specimen.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.fourier import crop_rfft
from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.images.undistorted_images import undistorted
from cryoloom.algorithms.series.low_frequencies import low_frequencies
from cryoloom.algorithms.series.prepared_arrays import Arrays, Prepared, made_now
from cryoloom.geometry.tilt_axis import image_from_aligned
from cryoloom.kernels.images.spline_sample import sample_spline
from cryoloom.model import ImageWarp, Pixels

__all__ = [
    "aligned_band",
    "contrast",
    "contrast_spline",
    "image_contrast_scale",
    "knot_shape",
    "low_band",
    "pose_affine",
    "sample_aligned",
    "spline_image",
    "spline_of_band",
]

OVERSAMPLING = 2.0
"""Spline knots per aligned pixel. With 2 the cubic B-spline's copies are below 0.2 % at 2/3 of Nyquist."""
EDGE_MARGIN_PX = 3.0
"""Chosen: aligned pixels at the image border not used: the transform is periodic, and rings there."""
_COUNTS_FROM = 0.1
"""Chosen: mean over deviation. Counts have a mean of several deviations, normalised images one of about
zero."""


def image_contrast_scale(image: torch.Tensor) -> tuple[float, float]:
    """Offset and divisor that convert an image to contrast: its mean, twice.

    Images without counts (their mean is below a tenth of their deviation: normalised by another program) are
    divided by their standard deviation instead.
    """
    mean, deviation = float(image.mean()), float(image.std())
    return mean, mean if has_counts(mean, deviation) else deviation


def has_counts(mean: float, deviation: float) -> bool:
    """Whether an image is of counts, by its mean, and not normalised by another program."""
    return mean > _COUNTS_FROM * deviation


def contrast(image: torch.Tensor) -> torch.Tensor:
    """``image / mean - 1``: relative loss of intensity, negative for more matter."""
    mean, scale = image_contrast_scale(image)
    return (image - mean) / scale


def spline_image(image: torch.Tensor, pixels_per_aligned_yx: tuple[float, float]) -> torch.Tensor:
    """Coefficients of cubic B-splines, ``(y, x)`` on a grid twice finer than the aligned pixels.

    image : (y, x) float32. pixels_per_aligned_yx : image pixels per aligned pixel (the binning).
    """
    shape = (image.shape[-2], image.shape[-1])
    low = crop_rfft(torch.fft.rfft2(image), shape, aligned_band(shape, pixels_per_aligned_yx))
    return spline_of_band(low, shape, pixels_per_aligned_yx)


def contrast_spline(
    pixels: Pixels,
    section: int,
    warp: ImageWarp | None,
    pixel_size_angstrom: float,
    binning: float,
    scratch: ScratchBuffers,
    device: str,
    prepared: Prepared = made_now,
) -> torch.Tensor:
    """`spline_image` of an image's contrast, its local displacement undone.

    NaN where a pixel is not a number. Without displacement only the low frequencies that aligned pixels show
    are computed. prepared : gives what `low_band` makes of a section.
    """
    shape = (pixels.shape[1], pixels.shape[2])
    per_aligned = (binning, binning)
    if warp is None:
        low = prepared(section, lambda: low_band(pixels, section, binning, scratch, device))
        mean, deviation = (float(value) for value in low["moments"])
        if has_counts(mean, deviation):
            spectrum = torch.from_numpy(np.array(low["spectrum"])).to(device)
            spectrum[0, 0] = 0.0
            return spline_of_band(spectrum / mean, shape, per_aligned)
    image = contrast(torch.from_numpy(np.asarray(pixels[section], np.float32)).to(device))
    return spline_image(undistorted(image, warp, pixel_size_angstrom), per_aligned)


def low_band(pixels: Pixels, section: int, binning: float, scratch: ScratchBuffers, device: str) -> Arrays:
    """The ``spectrum`` of an image, as far as aligned pixels show it, and the ``moments`` of the image."""
    band = aligned_band((pixels.shape[1], pixels.shape[2]), (binning, binning))
    low = low_frequencies(pixels, section, band, scratch, device=device)
    return {
        "spectrum": low.spectrum.cpu().numpy(),
        "moments": np.array([low.mean, low.deviation_at_most]),
    }


def aligned_band(shape_yx: tuple[int, int], pixels_per_aligned_yx: tuple[float, float]) -> tuple[int, int]:
    """Even shape that an image is cropped to with nothing lost that aligned pixels can show."""
    n_y, n_x = (
        min(n - n % 2, 2 * math.ceil(n / b / 2) + 2)
        for n, b in zip(shape_yx, pixels_per_aligned_yx, strict=True)
    )
    return n_y, n_x


def spline_of_band(
    low: torch.Tensor, shape_yx: tuple[int, int], pixels_per_aligned_yx: tuple[float, float]
) -> torch.Tensor:
    """`spline_image` from the spectrum of an image of ``shape_yx``, cropped to its `aligned_band`.

    Frequencies beyond the aligned grid's Nyquist are removed (a circle, with a soft edge from 0.45 to 0.5).
    Dividing by the B-spline's own transform ``sinc^4`` makes the sampled values exact but for its copies.
    """
    knots_yx = knot_shape(shape_yx, pixels_per_aligned_yx)
    spectrum = _resize_rfft(low, (low.shape[-2], 2 * (low.shape[-1] - 1)), knots_yx)
    spectrum *= _spline_filter(shape_yx, pixels_per_aligned_yx, low.device)
    return torch.fft.irfft2(spectrum, s=knots_yx)


@functools.lru_cache(maxsize=2)  # the images of a series share it
def _spline_filter(
    shape_yx: tuple[int, int], pixels_per_aligned_yx: tuple[float, float], device: torch.device
) -> torch.Tensor:
    """The circle, and the inverse of the B-splines' transform, over the frequencies of the knots."""
    knots_yx = knot_shape(shape_yx, pixels_per_aligned_yx)
    frequency_y = torch.fft.fftfreq(knots_yx[0], device=device)
    frequency_x = torch.fft.rfftfreq(knots_yx[1], device=device)
    aligned_y = frequency_y * (knots_yx[0] * pixels_per_aligned_yx[0] / shape_yx[0])
    aligned_x = frequency_x * (knots_yx[1] * pixels_per_aligned_yx[1] / shape_yx[1])
    radius = torch.hypot(aligned_y[:, None], aligned_x[None, :])
    circle = 0.5 + 0.5 * torch.cos(torch.pi * ((radius - 0.45) / 0.05).clamp(0, 1))
    return circle * ((torch.sinc(frequency_y) ** -4)[:, None] * (torch.sinc(frequency_x) ** -4)[None, :])


def knot_shape(shape_yx: tuple[int, int], pixels_per_aligned_yx: tuple[float, float]) -> tuple[int, int]:
    """Shape of the grid of `spline_image`."""
    n_y, n_x = (
        max(8, 2 * round(n * OVERSAMPLING / b / 2))
        for n, b in zip(shape_yx, pixels_per_aligned_yx, strict=True)
    )
    return n_y, n_x


def _resize_rfft(
    spectrum: torch.Tensor, shape_yx: tuple[int, int], new_shape_yx: tuple[int, int]
) -> torch.Tensor:
    """Spectrum on another grid: cropped where it is coarser, zero-padded where it is finer."""
    smaller = tuple(
        min(new, n if n % 2 == 0 else n - 1) for n, new in zip(shape_yx, new_shape_yx, strict=True)
    )
    cropped = crop_rfft(spectrum, shape_yx, (smaller[0], smaller[1]))
    if smaller == new_shape_yx:
        return cropped
    half, columns = smaller[0] // 2, smaller[1] // 2 + 1
    padded = torch.zeros(
        (new_shape_yx[0], new_shape_yx[1] // 2 + 1), dtype=spectrum.dtype, device=spectrum.device
    )
    padded[:half, :columns] = cropped[:half]
    padded[-half:, :columns] = cropped[half:]
    # Both grids are even, yet the centre n // 2 is at the half of each: nothing to move.
    return padded * (new_shape_yx[0] * new_shape_yx[1] / (smaller[0] * smaller[1]))


def pose_affine(
    image_shape_yx: tuple[int, int],
    knot_shape_yx: tuple[int, int],
    aligned_shape_yx: tuple[int, int],
    binning: float,
    *,
    axis_deg: float,
    tilt_deg: float,
    x_tilt_deg: float,
    shift_xy_px: tuple[float, float],
    magnification: float,
) -> NDArray[np.float64]:
    """Position of an aligned pixel on the spline grid: ``(2, 3)``, (y, x) from (row, column, 1).

    binning : image pixels per aligned pixel. shift_xy_px : the pose's shift in image pixels.
    """
    per_u, per_v = binning * image_from_aligned(axis_deg, tilt_deg, x_tilt_deg, magnification).T
    matrix = np.array([[per_v[1], per_u[1], shift_xy_px[1]], [per_v[0], per_u[0], shift_xy_px[0]]])
    matrix[:, 2] -= matrix[:, 0] * (aligned_shape_yx[0] // 2) + matrix[:, 1] * (aligned_shape_yx[1] // 2)
    # From image pixels about the centre to knots about theirs; the two centres coincide.
    knots_per_px = np.array(knot_shape_yx) / np.array(image_shape_yx)
    matrix *= knots_per_px[:, None]
    matrix[:, 2] += np.array(knot_shape_yx) // 2
    return matrix


def sample_aligned(
    knots: torch.Tensor,
    affine: NDArray[np.float64],
    first_row: int,
    n_rows: int,
    n_columns: int,
    *,
    serial: bool = False,
) -> torch.Tensor:
    """Rows ``first_row`` on of an aligned image, ``(n_rows, n_columns)`` float32, NaN outside.

    serial : on the CPU, on the calling thread alone, for images side by side.
    """
    sampled = torch.empty((n_rows, n_columns), dtype=torch.float32, device=knots.device)
    margin = EDGE_MARGIN_PX * OVERSAMPLING
    sample_spline(knots, torch.from_numpy(affine), first_row, sampled, (margin, margin), serial=serial)
    return sampled
