"""Smear of each image of a tilt series, from its power spectrum relative to the trend of the series.

A smear with the covariance S (of the specimen's positions during the exposure) multiplies the power at the
frequency k by about ``exp(-4 pi^2 k . S k)``: it falls with direction as well as with frequency, unlike the
effects of tilt, thickness, dose and defocus. So the power in sectors of rings is taken relative to its trend
over the series, and S is fitted together with an overall level and a slope over frequency.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.optimize import least_squares

from cryoloom.geometry.slab_path import slab_path, slab_path_slope

__all__ = [
    "DirectionalBins",
    "SeriesSmear",
    "directional_bins",
    "directional_power",
    "explaining_terms",
    "fit_smears",
    "power_error",
]

LEAST_IMAGES, LEAST_BINS, LEAST_FOR_SQUARE = 5, 12, 15
"""Images and bins with signal that a fit of smears needs; images that a square of the thickness needs."""
NOISE_FROM, NOISE_TO = 0.45, 0.5
"""Cycles per pixel between which power is taken to be noise alone."""

Array = NDArray[np.float64]

N_BANDS, N_SECTORS = 10, 12
"""Chosen: rings and directions of power, wide enough for noise to average out."""
COARSEST_ANGSTROM, FINEST_ANGSTROM = 250.0, 12.0
"""Chosen: detail that a smear of 25 A and more weakens in one direction."""
TILE_ANGSTROM = 900.0  # chosen: of a spectrum, 3.6 periods of the coarsest detail
MAX_TILES = 100  # chosen: bounds the time
SIGNIFICANT_SIGMAS = 6.0  # chosen: good tilts of EMPIAR-10499 and of simulated movies stay below 10 A


@dataclass(frozen=True, slots=True)
class DirectionalBins:
    """Sectors of rings over the spectra of square tiles."""

    shape_yx: tuple[int, int]
    edge_px: int
    """Of a tile."""
    index: NDArray[np.int64]
    """Bin of each frequency of a tile's rfft2, flat; then the finest ones, and the unused ones."""
    counts: Array
    """Frequencies in each bin, ``(band * sector,)``."""
    k_xy_per_angstrom: Array
    """Mean frequency of each bin, ``(band * sector, 2)``."""

    @property
    def starts_yx(self) -> list[tuple[int, int]]:
        """First pixels of tiles that cover the image, half a tile apart where `MAX_TILES` allows."""
        spans = [n - self.edge_px for n in self.shape_yx]
        counts = [1 + math.ceil(2 * span / self.edge_px) for span in spans]
        excess = math.sqrt(max(1.0, math.prod(counts) / MAX_TILES))
        rows, columns = (
            np.linspace(0, span, max(1, math.floor(n / excess))).round().astype(int)
            for span, n in zip(spans, counts, strict=True)
        )
        return [(int(y), int(x)) for y in rows for x in columns]


def directional_bins(shape_yx: tuple[int, int], pixel_size_angstrom: float) -> DirectionalBins:
    """Bins for images ``(y, x)``: rings of equal ratio of frequency from 250 A on, each cut into sectors."""
    edge = min(round(TILE_ANGSTROM / pixel_size_angstrom), min(shape_yx) // 2)
    edge -= edge % 2
    k_y = np.fft.fftfreq(edge, pixel_size_angstrom)[:, None]
    k_x = np.fft.rfftfreq(edge, pixel_size_angstrom)[None]
    k = np.hypot(k_y, k_x)
    low = max(1 / COARSEST_ANGSTROM, 2.5 / (edge * pixel_size_angstrom))
    high = min(1 / FINEST_ANGSTROM, 0.4 / pixel_size_angstrom)
    band = np.floor(N_BANDS * np.log(np.maximum(k, 1e-9) / low) / np.log(high / low)).astype(int)
    sector = np.floor(np.mod(np.arctan2(k_y, k_x), np.pi) / np.pi * N_SECTORS).astype(int) % N_SECTORS
    n_bins = N_BANDS * N_SECTORS
    # A camera's rows and columns put their power on the axes.
    used = (band >= 0) & (band < N_BANDS) & (k_y != 0) & (k_x != 0)
    finest = (k > NOISE_FROM / pixel_size_angstrom) & (k < NOISE_TO / pixel_size_angstrom)
    index = np.where(used, band * N_SECTORS + sector, np.where(finest, n_bins, n_bins + 1)).ravel()
    counts = np.bincount(index, minlength=n_bins + 2)[:n_bins].astype(np.float64)
    # Opposite directions are one: y is taken positive.
    side = np.where(k_y < 0, -1.0, 1.0)
    means = [
        np.bincount(index, weights=np.broadcast_to(side * part, k.shape).ravel(), minlength=n_bins + 2)
        for part in (k_x, k_y)
    ]
    centres = np.stack(means, axis=1)[:n_bins] / np.maximum(counts, 1.0)[:, None]
    return DirectionalBins(shape_yx, edge, index, counts, centres)


def directional_power(image: NDArray[np.float32], bins: DirectionalBins) -> tuple[Array, float]:
    """Median over tiles of the power in each bin, ``(band * sector,)``, and that of the finest detail.

    White noise of variance v gives v. The median is insensitive to a few tiles with a bead, an edge of carbon
    or contamination.
    """
    edge, n_bins = bins.edge_px, len(bins.counts)
    taper = np.hanning(edge + 2)[1:-1].astype(np.float32)
    window = taper[:, None] * taper
    powers = []
    for y, x in bins.starts_yx:
        tile = image[y : y + edge, x : x + edge]
        spectrum = scipy.fft.rfft2((tile - tile.mean()) * window)
        power = spectrum.real**2 + spectrum.imag**2
        powers.append(np.bincount(bins.index, weights=power.ravel(), minlength=n_bins + 2))
    counts = np.maximum(np.bincount(bins.index, minlength=n_bins + 2), 1)
    typical = np.median(powers, axis=0) / counts / float((window**2).sum())
    return typical[:n_bins], float(typical[n_bins])


def power_error(power: Array, bins: DirectionalBins) -> Array:
    """Standard error of `directional_power`, which is proportional to the power."""
    # Half-overlapping Hann tiles hold about 0.4 independent values each; a median knows 1.25 times less.
    n_independent = 0.4 * len(bins.starts_yx) * np.maximum(bins.counts, 1.0)
    return np.asarray(1.25 * power / np.sqrt(n_independent))


@dataclass(frozen=True, slots=True)
class SeriesSmear:
    """Smear of each image beyond the trend of its series; arrays ``(tilt,)``."""

    length_angstrom: Array
    """Length of the steady smear that has the fitted variance, along its worst direction."""
    angle_deg: Array
    """That direction, from +x, counter-clockwise."""
    sigmas: Array
    """Fitted variance over what the series' own scatter and the fit's error allow."""

    @property
    def is_significant(self) -> NDArray[np.bool_]:
        """Wavelength beyond which chance and the scatter of the series no longer explain the smear."""
        return np.asarray(self.sigmas >= SIGNIFICANT_SIGMAS)

    def spread_over(self, chosen: NDArray[np.bool_]) -> SeriesSmear:
        """The same for all images of a series, of which these were ``chosen``; 0 for the others."""
        parts = []
        for values in (self.length_angstrom, self.angle_deg, self.sigmas):
            parts.append(np.zeros(len(chosen)))
            parts[-1][chosen] = values
        return SeriesSmear(*parts)


def explaining_terms(tilt_deg: Array, dose_per_angstrom2: Array) -> Array:
    """Variables of the power of a good image, ``(tilt, term)``: a constant, thickness, pretilt, dose.

    Series of fewer than 15 tilts do not determine the square of the thickness and the dose.
    """
    tilt = np.deg2rad(np.clip(tilt_deg, -80, 80))
    longer = slab_path(tilt) - 1
    terms = [np.ones(len(tilt)), longer, slab_path_slope(tilt)]
    if len(tilt) >= LEAST_FOR_SQUARE:
        terms += [longer**2, dose_per_angstrom2]
    return np.column_stack(terms)


def fit_smears(signal: Array, noise: Array, bins: DirectionalBins, explained_by: Array) -> SeriesSmear:
    """Smear of every image.

    signal : (tilt, bin) power less that of the noise, over the square of the image's mean. noise : (tilt,
    bin) standard error of the same. explained_by : (tilt, term) what power may depend on, a constant first.
    """
    n = len(signal)
    typical = np.median(signal, axis=0)
    usable = (typical > np.median(noise, axis=0)) & (bins.counts >= 1)
    if n < LEAST_IMAGES or usable.sum() < LEAST_BINS:
        return SeriesSmear(np.zeros(n), np.zeros(n), np.zeros(n))
    signal, noise, k = signal[:, usable], noise[:, usable], bins.k_xy_per_angstrom[usable]
    floor = 0.02 * typical[usable]
    left_out = np.zeros(n, dtype=bool)
    while True:
        trend = np.exp(_trend(np.log(np.maximum(signal, floor)), explained_by, ~left_out))
        covariances, gains = _fit_covariances(signal / trend, noise / trend, k, ~left_out)
        result = _judge(covariances, gains, ~left_out)
        # The worst one first, because it biases the trend of the others.
        worst = int(np.argmax(np.where(left_out, -np.inf, result.sigmas)))
        if result.sigmas[worst] < SIGNIFICANT_SIGMAS or left_out.sum() >= n // 3:
            return result
        left_out[worst] = True


def _trend(values: Array, terms: Array, used: NDArray[np.bool_]) -> Array:
    """Robust fit of ``terms`` to each column of ``values`` ``(tilt, bin)``, evaluated for every tilt."""
    scale = terms / np.maximum(np.abs(terms).max(axis=0), 1e-9)
    ridge = np.diag([0.0] + [1e-3] * (terms.shape[1] - 1))
    fitted = np.tile(np.median(values[used], axis=0), (len(values), 1))
    for _ in range(10):
        misfit = values - fitted
        spread = 1.4826 * np.median(np.abs(misfit[used]), axis=0) + 1e-3
        distance = np.minimum(np.abs(misfit) / (4.685 * spread), 1.0)
        weights = np.where(used[:, None], (1 - distance**2) ** 2, 0.0) + 1e-9
        normal = np.einsum("ta,tb,ti->iab", scale, scale, weights) + ridge
        right = np.einsum("ta,ti,ti->ia", scale, weights, values)
        fitted = scale @ np.linalg.solve(normal, right[..., None])[..., 0].T
    return np.asarray(fitted)


def _fit_covariances(ratio: Array, error: Array, k: Array, used: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Covariance of the smear of each image as xx, yy, xy, ``(tilt, 3)`` in A^2, and the gain it brings.

    The gain is the root of the decrease of chi squared against no smear, per degree of freedom left.
    """
    # Scale of the covariance: one whose effect at the finest frequency is e-fold.
    unit = 1.0 / (4 * np.pi**2 * float((k**2).sum(axis=1).max()))
    quadratic = 4 * np.pi**2 * unit * np.column_stack([k[:, 0] ** 2, k[:, 1] ** 2, 2 * k[:, 0] * k[:, 1]])
    slope = np.log(np.hypot(*k.T))
    slope -= slope.mean()
    level = np.median(ratio[used], axis=1, keepdims=True)
    scatter = 1.4826 * np.median(np.abs(ratio[used] - level), axis=0)
    covariances, gains = np.zeros((len(ratio), 3)), np.zeros(len(ratio))
    for i, (seen, noise) in enumerate(zip(ratio, error, strict=True)):
        sigma = np.sqrt(noise**2 + scatter**2 + 0.02**2)

        def misfit(p: Array, seen: Array = seen, sigma: Array = sigma) -> Array:
            exponent = p[0] + p[1] * slope - (quadratic @ p[2:] if len(p) > 2 else 0.0)
            # Level and slope differ between neighbours by tens of per cent, not by factors.
            return np.append((np.exp(np.minimum(exponent, 3.0)) - seen) / sigma, p[:2] / 0.3)

        without = least_squares(misfit, np.zeros(2), loss="soft_l1")
        best = least_squares(misfit, np.append(without.x, np.zeros(3)), loss="soft_l1")
        excess = max(1.0, 2 * best.cost / max(len(seen) - 3, 1))
        covariances[i] = unit * best.x[2:]
        gains[i] = np.sqrt(max(0.0, 2 * (without.cost - best.cost)) / excess)
    return covariances, gains


def _judge(covariances: Array, gains: Array, used: NDArray[np.bool_]) -> SeriesSmear:
    """Largest variance along any direction, and its excess over that of the other images."""
    xx, yy, xy = covariances.T
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    along = np.column_stack([np.cos(angle) ** 2, np.sin(angle) ** 2, np.sin(2 * angle)])
    variance = np.einsum("ta,ta->t", along, covariances)
    usual = float(np.median(variance[used]))
    spread = 1.4826 * float(np.median(np.abs(variance[used] - usual)))
    sigmas = np.minimum(gains, (variance - usual) / max(spread, 1e-9))
    length = np.sqrt(12.0 * np.maximum(variance - max(usual, 0.0), 0.0))
    return SeriesSmear(length, np.rad2deg(angle) % 180.0, sigmas)
