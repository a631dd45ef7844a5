"""Power spectrum of one image in two dimensions, beside the fitted CTF, as a picture.

The left half is measured, the right half the model; if the fit is right, the rings of both halves meet, as in
CTFFIND's diagnostic image (Rohou & Grigorieff, J. Struct. Biol. 192, 216 (2015)).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft2
from scipy.ndimage import gaussian_filter, uniform_filter1d, zoom

from cryoloom.algorithms.ctf.phase import ctf_phase, directional_defocus
from cryoloom.model import Ctf, Microscope

__all__ = ["SPECTRUM_FINEST_ANGSTROM", "ctf_model_image", "spectrum_image", "spectrum_with_fit"]

SPECTRUM_FINEST_ANGSTROM = 4.0
"""Resolution at the edge of the picture, or Nyquist if that is coarser. Rings beyond are rare."""
TILE_PX, SMALLEST_TILE_PX = 512, 256
"""An image with fewer pixels is cut into tiles of half its size, as long as they resolve rings."""
MOST_TILES = 25
PICTURE_PX = 256
SMOOTHING_PX = 1.0
"""Chosen for viewing: tiles that are averaged, side and smoothing of the picture."""
BACKGROUND_RINGS = 24
"""Width of the radial background, in rings of the tile's transform: a few Thon rings at low frequency."""

Image = NDArray[np.float32]


def spectrum_with_fit(
    image: Image, pixel_size_angstrom: float, ctf: Ctf | None, microscope: Microscope
) -> tuple[Image, float]:
    """Measured spectrum (left half) and fitted CTF squared (right half), and the resolution at the edge.

    image : (y, x). Returns (y, x) float32 of `PICTURE_PX` pixels, values about -2 to 2, zero frequency at
    index ``n // 2``, row 0 at the bottom; and the resolution in angstrom at the middle of an edge. Without a
    CTF both halves are measured.
    """
    measured, edge_angstrom = spectrum_image(image, pixel_size_angstrom)
    if ctf is None:
        return measured, edge_angstrom
    model = ctf_model_image(measured.shape[0], edge_angstrom, ctf, microscope)
    beyond = measured.shape[1] // 2
    joined = measured.copy()
    joined[:, beyond:] = model[:, beyond:]
    return joined, edge_angstrom


def spectrum_image(image: Image, pixel_size_angstrom: float) -> tuple[Image, float]:
    """Mean log power of overlapping tiles, flattened over rings; and the resolution at its edge.

    image : (y, x). Returns (y, x) float32 in standard deviations, and angstrom.
    """
    smallest = min(image.shape)
    edge = min(TILE_PX, max(SMALLEST_TILE_PX, smallest // 2), smallest)
    edge -= edge % (32 if edge >= 64 else 2)  # sizes that transform fast
    power = _mean_power(image, edge)
    flat = _flattened(np.log(np.maximum(power, 1e-30)))
    finest = max(SPECTRUM_FINEST_ANGSTROM, 2 * pixel_size_angstrom)
    # A frequency of 1 / finest lies so many pixels from the centre.
    radius = max(8, min(edge // 2, round(edge * pixel_size_angstrom / finest)))
    middle = edge // 2
    cut = flat[middle - radius : middle + radius, middle - radius : middle + radius]
    scaled = zoom(cut, PICTURE_PX / cut.shape[0], order=1, mode="nearest", grid_mode=True)
    # Thon rings are wider than the noise of the spectrum: smoothing makes them visible.
    smooth = gaussian_filter(scaled, SMOOTHING_PX)
    spread = float(smooth.std())
    return (smooth / max(spread, 1e-12)).astype(np.float32), edge * pixel_size_angstrom / radius


def ctf_model_image(n_px: int, edge_angstrom: float, ctf: Ctf, microscope: Microscope) -> Image:
    """Square of the CTF on the grid of a spectrum, ``(y, x)`` float32 from -1 to 1, without envelope.

    n_px : edge of the picture. edge_angstrom : resolution at the middle of an edge.
    """
    along = (np.arange(n_px) + 0.5 - n_px / 2) / (n_px / 2) / edge_angstrom
    y, x = np.meshgrid(along, along, indexing="ij")
    angle = np.arctan2(y, x)
    defocus = directional_defocus(
        angle, ctf.defocus_u_angstrom, ctf.defocus_v_angstrom, ctf.astigmatism_angle_deg
    )
    phase = ctf_phase(x**2 + y**2, defocus, microscope, ctf.phase_shift_deg)
    model = -np.cos(2 * phase)  # sin^2 = (1 - cos 2 chi) / 2
    return np.where(x**2 + y**2 <= 1 / edge_angstrom**2, model, 0.0).astype(np.float32)


def _mean_power(image: Image, edge: int) -> NDArray[np.float64]:
    """Mean power of Hann-tapered tiles, ``(y, x)`` with zero frequency at index ``edge // 2``."""
    starts = [_starts(n, edge) for n in image.shape]
    taper = np.hanning(edge + 1)[:edge].astype(np.float32)
    window = taper[:, None] * taper[None, :]
    total = np.zeros((edge, edge // 2 + 1))
    for y in starts[0]:
        for x in starts[1]:
            tile = np.nan_to_num(np.asarray(image[y : y + edge, x : x + edge], dtype=np.float32))
            spectrum = rfft2((tile - tile.mean()) * window)
            total += spectrum.real**2 + spectrum.imag**2
    half = total[:, 1:-1]
    # The other half of the transform of a real image: F(-k) = conj F(k).
    mirrored = np.roll(half[::-1], 1, axis=0)[:, ::-1]
    whole = np.concatenate([total, mirrored], axis=1)
    return np.fft.fftshift(whole)


def _starts(n: int, edge: int) -> list[int]:
    """First pixels of tiles half a tile apart, fewer where there would be too many."""
    n_tiles = min(1 + math.ceil(2 * (n - edge) / edge), math.isqrt(MOST_TILES))
    return np.round(np.linspace(0, n - edge, n_tiles)).astype(int).tolist()


def _flattened(log_power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Less the smooth part of the radial mean, over the standard deviation of each ring's surroundings."""
    n = log_power.shape[0]
    y, x = np.indices(log_power.shape) - n // 2
    ring = np.hypot(y, x).astype(int).ravel()
    counts = np.maximum(np.bincount(ring), 1)
    mean = np.bincount(ring, log_power.ravel()) / counts
    smooth = uniform_filter1d(mean, BACKGROUND_RINGS, mode="nearest")
    left = log_power - smooth[ring].reshape(log_power.shape)
    variance = np.bincount(ring, (left**2).ravel()) / counts
    spread = np.sqrt(uniform_filter1d(variance, BACKGROUND_RINGS, mode="nearest"))
    return left / np.maximum(spread[ring].reshape(log_power.shape), 1e-12)
