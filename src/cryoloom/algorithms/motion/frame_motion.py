"""Shifts of a movie's frames: leave-one-out correlation first, then the most probable trajectory.

The correlation (Li et al., Nat. Methods 10 (2013); Zheng et al., Nat. Methods 14 (2017)) finds the shifts to
about a pixel. The refinement maximises the likelihood of all frames at once: specimen and fixed pattern are
Gaussian with ring-wise power measured from the frames and are integrated out, which weights frequencies
optimally; a prior on trajectories (`trajectory_prior`) makes it a posterior.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.parabola import vertex_offset
from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.motion.trajectory_prior import ShiftMeasurement, TrajectoryPrior
from cryoloom.kernels.movies.frame_shifts import likelihood_gradient, ring_powers

__all__ = [
    "MotionEstimate",
    "MotionSettings",
    "estimate_motion",
    "low_frequencies",
    "phase_ramps",
    "working_shape",
]

_SETTLED_PX = 0.25
"""Chosen: shifts that change by less, in pixels, change neither the correlation's peak nor the powers."""
_SURE_SIGMAS = 5.0
"""Chosen: a fixed pattern counts if its power exceeds its error this many times: by chance once in 3e6."""

Spectra = NDArray[np.complex64]
_Floats = NDArray[np.floating[Any]]
#: Chosen: larger spectra are processed by all threads together; patches in parallel, one thread each.
_SHARED_FROM = 1 << 20


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """Settings of the search. Lengths in pixels of the frames."""

    max_shift_px: float
    b_factor_px2: float
    finest_px: float
    """Finest detail used, as a wavelength."""
    coarsest_px: float
    tolerance_px: float
    max_iterations: int = 15


@dataclass(frozen=True, slots=True)
class MotionEstimate:
    """Position of the specimen in each frame, ``(frame, 2)`` in pixels, relative to the mean over frames."""

    shifts_yx_px: NDArray[np.float64]
    error_yx_px: NDArray[np.float64]
    """Expected rms error by axis, ``(2,)``, from the curvature of the posterior."""
    measurement: ShiftMeasurement
    n_iterations: int


def working_shape(shape_yx: tuple[int, int], finest_px: float) -> tuple[int, int]:
    """Even shape of the cropped spectra that keep wavelengths down to ``finest_px``."""
    return tuple(min(n - n % 2, 2 * math.ceil(n / finest_px) + 2) for n in shape_yx)  # type: ignore[return-value]


def phase_ramps(
    shifts_yx_px: NDArray[np.float64], full_shape_yx: tuple[int, int], shape_yx: tuple[int, int]
) -> tuple[Spectra, Spectra]:
    """Factors ``(frame, y)`` and ``(frame, x // 2 + 1)`` that move frames by ``shifts_yx_px``.

    The frequencies are those of ``shape_yx`` cropped out of images of ``full_shape_yx``.
    """
    index_y = np.fft.fftfreq(shape_yx[0], 1.0 / shape_yx[0])
    index_x = np.arange(shape_yx[1] // 2 + 1)
    ramps_y = np.exp(-2j * math.pi * np.outer(shifts_yx_px[:, 0] / full_shape_yx[0], index_y))
    ramps_x = np.exp(-2j * math.pi * np.outer(shifts_yx_px[:, 1] / full_shape_yx[1], index_x))
    return ramps_y.astype(np.complex64), ramps_x.astype(np.complex64)


def estimate_motion(
    spectra: Spectra, full_shape_yx: tuple[int, int], prior: TrajectoryPrior, settings: MotionSettings
) -> MotionEstimate:
    """Find the most probable shifts of frames from their low frequencies.

    spectra : (frame, y, x // 2 + 1), cropped out of the rfft2 of frames of ``full_shape_yx``.
    """
    n = len(spectra)
    if n == 1:
        zero = np.zeros((1, 2))
        return MotionEstimate(zero, np.zeros(2), ShiftMeasurement(zero, np.zeros(2)), 0)
    shifts = coarse_shifts(spectra, full_shape_yx, settings)
    return refine_shifts(spectra, full_shape_yx, shifts, prior, settings)


# --- Leave-one-out correlation
# -------------------------------------------------------------------------------------


def coarse_shifts(
    spectra: Spectra, full_shape_yx: tuple[int, int], settings: MotionSettings
) -> NDArray[np.float64]:
    """Shifts of frames by iterated correlation of groups of frames with the sum of the others."""
    n = len(spectra)
    n_groups = min(n, 10)
    edges = np.linspace(0, n, n_groups + 1).round().astype(int)
    shape = tuple(min(512, 2 * (size // 2)) for size in (spectra.shape[1], 2 * (spectra.shape[2] - 1)))
    groups = np.stack(
        [low_frequencies(spectra[a:b], shape).sum(axis=0) for a, b in itertools.pairwise(edges)]
    )
    weight = _correlation_weight(groups, full_shape_yx, shape, settings.b_factor_px2)
    standing = _standing_power(spectra) * np.outer(np.diff(edges), np.diff(edges)).mean()
    scale = np.array(full_shape_yx) / shape
    reach = np.maximum(1, np.floor(settings.max_shift_px / scale)).astype(int)
    found = np.zeros((n_groups, 2))
    for _ in range(settings.max_iterations):
        ramps_y, ramps_x = phase_ramps(-found, full_shape_yx, shape)
        ramps = ramps_y[:, :, None] * ramps_x[:, None, :]
        moved = groups * ramps
        total, overlap = moved.sum(axis=0), ramps.sum(axis=0) if standing else None
        step = np.empty_like(found)
        for i in range(n_groups):
            # The contribution of a fixed white pattern to the cross-spectrum of the moved frames is known
            # except for noise.
            crossed = (total - moved[i]).conj() * moved[i]
            if overlap is not None:
                crossed -= standing * (overlap - ramps[i]).conj() * ramps[i]
            correlation = scipy.fft.irfft2(crossed * weight, s=shape, workers=2)
            step[i] = _peak(correlation, reach) * scale
        found += step
        found -= found.mean(axis=0)
        if np.abs(step).max() < _SETTLED_PX:
            break
    centres = 0.5 * (edges[:-1] + edges[1:] - 1)
    frames = np.arange(n)
    return np.stack([np.interp(frames, centres, found[:, axis]) for axis in (0, 1)], axis=1)


def low_frequencies(
    spectra: Spectra, shape_yx: tuple[int, int], scratch: ScratchBuffers | None = None
) -> Spectra:
    """Low frequencies of spectra, in the layout of an rfft2 of ``shape_yx``; a copy where they are fewer."""
    half = (shape_yx[0] + 1) // 2
    columns = shape_yx[1] // 2 + 1
    if shape_yx[0] == spectra.shape[1] and columns == spectra.shape[2]:
        return spectra
    upper = spectra[:, spectra.shape[1] - (shape_yx[0] - half) :, :columns]
    into = None
    if scratch is not None:
        into = scratch.array("low frequencies", (len(spectra), shape_yx[0], columns), spectra.dtype)
    return np.concatenate([spectra[:, :half, :columns], upper], axis=1, out=into)


def _standing_power(spectra: Spectra) -> float:
    """Power common to unmoved frames at the highest frequencies, where little else is fixed."""
    n = len(spectra)
    high = _high_frequencies(spectra)
    pairs = float(n * (n - 1))
    frame = float(np.mean(np.abs(high) ** 2))
    shared = (float(np.mean(np.abs(high.sum(axis=0)) ** 2)) - n * frame) / pairs
    error = n * frame / pairs / math.sqrt(high[0].size)
    return shared if shared > _SURE_SIGMAS * error else 0.0


def _high_frequencies(spectra: Spectra) -> Spectra:
    """Those along x at the end of the spectra."""
    return spectra[:, :, int(0.85 * spectra.shape[2]) : spectra.shape[2] - 1]


def _high_frequency_power(spectra: Spectra) -> float:
    """Mean power of frames there, without their common part."""
    return float(np.mean(np.abs(_high_frequencies(spectra)) ** 2)) - _standing_power(spectra)


def _correlation_weight(
    groups: Spectra, full_shape_yx: tuple[int, int], shape_yx: tuple[int, int], b_factor_px2: float
) -> NDArray[np.float32]:
    """``exp(-B f^2 / 4)`` over the mean power, without the axes, where image borders correlate."""
    frequency_y = (np.fft.fftfreq(shape_yx[0], 1.0 / shape_yx[0]) / full_shape_yx[0])[:, None]
    frequency_x = np.arange(shape_yx[1] // 2 + 1)[None] / full_shape_yx[1]
    weight = np.exp(-b_factor_px2 / 4 * (frequency_y**2 + frequency_x**2))
    power = np.mean(np.abs(groups) ** 2)
    weight[0] = weight[:, 0] = 0.0
    weight[shape_yx[0] // 2] = weight[:, -1] = 0.0
    return (weight / max(float(power), 1e-30)).astype(np.float32)


def _peak(correlation: NDArray[np.float32], reach_yx: NDArray[np.int_]) -> NDArray[np.float64]:
    """Position of the highest value within ``reach_yx`` of the origin, by parabolas along both axes."""
    rows, columns = (
        np.arange(-min(r, n // 2 - 1), min(r, n // 2 - 1) + 1)
        for r, n in zip(reach_yx, correlation.shape, strict=True)
    )
    window = correlation[np.ix_(rows, columns)]
    iy, ix = np.unravel_index(np.argmax(window), window.shape)
    y, x = int(rows[iy]), int(columns[ix])
    n_y, n_x = correlation.shape
    along_y = [correlation[(y + d) % n_y, x] for d in (-1, 0, 1)]
    along_x = [correlation[y, (x + d) % n_x] for d in (-1, 0, 1)]
    return np.array([y + float(vertex_offset(*along_y)), x + float(vertex_offset(*along_x))])


# --- Most probable trajectory
# --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rings:
    """Rings of equal frequency over cropped spectra; -1 for unused ones."""

    index: NDArray[np.int16]
    reach: NDArray[np.int64]
    """Columns of each row that lie within the outermost ring, ``(y,)``."""
    count: NDArray[np.float64]
    frequency2_yx: NDArray[np.float64]
    """Sum over independent coefficients of the squared frequency along y and x, ``(ring, 2)``."""


@dataclass(frozen=True, slots=True)
class _Powers:
    """By ring: powers of specimen and fixed pattern over the noise's, and the noise's inverse."""

    signal_to_noise: NDArray[np.float32]
    pattern_to_noise: NDArray[np.float32]
    weight: NDArray[np.float32]


def refine_shifts(
    spectra: Spectra,
    full_shape_yx: tuple[int, int],
    start_yx_px: NDArray[np.float64],
    prior: TrajectoryPrior,
    settings: MotionSettings,
) -> MotionEstimate:
    """Newton steps with the expected Hessian to the most probable trajectory, in a growing band."""
    n = len(start_yx_px)
    shape = (spectra.shape[1], 2 * (spectra.shape[2] - 1))
    precision = np.linalg.inv(prior.covariance(n) + 1e6 * np.ones((n, n)))
    shifts = start_yx_px - start_yx_px.mean(axis=0)
    # Electrons arrive at random, so their noise is nearly white: half of the noise at high frequencies is the
    # lower limit everywhere.
    least_noise = 0.5 * _high_frequency_power(spectra)
    iterations = 0
    for finest in (max(4 * settings.finest_px, 10.0), max(2 * settings.finest_px, 5.0), settings.finest_px):
        if finest > settings.coarsest_px / 4 and finest != settings.finest_px:
            continue
        band = tuple(min(a, b) for a, b in zip(shape, working_shape(full_shape_yx, finest), strict=True))
        low = np.ascontiguousarray(low_frequencies(spectra, band))
        rings = _make_rings(full_shape_yx, band, finest, settings.coarsest_px)
        tolerance = settings.tolerance_px if finest == settings.finest_px else max(0.1, settings.tolerance_px)
        for _ in range(3):
            ramps = phase_ramps(-shifts, full_shape_yx, band)
            powers = _measure_powers(low, ramps, rings, least_noise)
            alpha = powers.signal_to_noise.astype(np.float64)
            information = 8 * math.pi**2 * ((alpha**2 / (1 + n * alpha)) @ rings.frequency2_yx)
            before = shifts
            while iterations < settings.max_iterations:
                iterations += 1
                gradient = _gradient(low, shifts, full_shape_yx, rings, powers)
                step = _newton_step(shifts, gradient, information, precision)
                shifts = shifts + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-9))
                if np.abs(step).max() < tolerance:
                    break
            if np.abs(shifts - before).max() < _SETTLED_PX or iterations >= settings.max_iterations:
                break  # such a small change does not alter the powers
    gradient = precision @ shifts  # at the maximum the likelihood's gradient balances the prior's
    measured = shifts + gradient / (n * np.maximum(information, 1e-12))
    return MotionEstimate(
        shifts - shifts.mean(axis=0),
        _expected_error(information, precision),
        ShiftMeasurement(measured - measured.mean(axis=0), information),
        iterations,
    )


@functools.lru_cache(maxsize=6)  # the bands of one series, whose movies share them
def _make_rings(
    full_shape_yx: tuple[int, int], shape_yx: tuple[int, int], finest_px: float, coarsest_px: float
) -> _Rings:
    """Rings as wide as one frequency step of a 1024 px image, between two wavelengths."""
    frequency_y = (np.fft.fftfreq(shape_yx[0], 1.0 / shape_yx[0]) / full_shape_yx[0])[:, None]
    frequency_x = (np.arange(shape_yx[1] // 2 + 1) / full_shape_yx[1])[None]
    radius = np.hypot(frequency_y, frequency_x)
    width = 1.0 / 1024
    index = np.floor(radius / width).astype(np.int16)
    unused = (radius < 1.0 / coarsest_px) | (radius > min(1.0 / finest_px, 0.5))
    index[unused] = -1
    # Image borders and readout lines do not move and have their power on the axes.
    index[:2] = index[-1:] = -1
    index[:, :2] = -1
    index[:, -1] = -1
    n_rings = int(index.max()) + 1
    used = index >= 0
    flat = index[used].astype(np.int64)
    squares = [np.broadcast_to(f**2, radius.shape)[used] for f in (frequency_y, frequency_x)]
    return _Rings(
        index,
        np.where(used.any(axis=1), used.shape[1] - np.argmax(used[:, ::-1], axis=1), 0).astype(np.int64),
        np.bincount(flat, minlength=n_rings).astype(np.float64),
        np.stack([np.bincount(flat, weights=s, minlength=n_rings) for s in squares], axis=1),
    )


def _measure_powers(
    spectra: Spectra, ramps: tuple[Spectra, Spectra], rings: _Rings, least_noise: float
) -> _Powers:
    """Separate noise, specimen and fixed pattern by the power in the sums of moved and unmoved frames."""
    n = len(spectra)
    sums = ring_powers(
        torch.from_numpy(spectra),
        torch.from_numpy(ramps[0]),
        torch.from_numpy(ramps[1]),
        torch.from_numpy(rings.index),
        torch.from_numpy(rings.reach),
        len(rings.count),
        serial=spectra.size <= _SHARED_FROM,
    ).numpy()
    count = np.maximum(sums[0], 1.0)
    frame, moved, still, overlap = sums[1:] / count
    pairs = float(n * (n - 1))
    # E moved = n noise + n^2 signal + pattern overlap, E still = n noise + signal overlap + n^2 pattern,
    # so less n times the mean frame power: two equations for signal and pattern.
    excess_moved, excess_still, shared = moved - n * frame, still - n * frame, overlap - n
    pattern = _pattern_power(excess_moved, excess_still, shared, pairs, count, n * frame)
    signal = _smooth((excess_moved - pattern * shared) / pairs, count)
    signal = np.clip(signal, 0.0, np.maximum(frame - pattern - least_noise, 0.05 * frame))
    usable = (sums[0] > 0) & (frame > 0)
    noise = np.where(usable, np.maximum(frame - signal - pattern, 0.01 * frame + least_noise), 1.0)
    signal, pattern, weight = np.where(usable, [signal, np.full_like(signal, pattern), 1.0 / noise], 0.0)
    return _Powers(
        (signal / noise).astype(np.float32),
        (pattern / noise).astype(np.float32),
        weight.astype(np.float32),
    )


def _pattern_power(
    excess_moved: NDArray[np.float64],
    excess_still: NDArray[np.float64],
    shared: NDArray[np.float64],
    pairs: float,
    count: NDArray[np.float64],
    noise: NDArray[np.float64],
) -> float:
    """Power of a white fixed pattern, 0 unless it exceeds five times its error."""
    length = np.hypot(pairs, shared)
    lever = (pairs**2 - shared**2) / length
    value = (pairs * excess_still - shared * excess_moved) / length
    usable = (noise > 0) & (count > 1)
    if not usable.any():
        return 0.0
    count, lever, value, noise = count[usable], lever[usable], value[usable], noise[usable]
    information = count * lever**2 / noise**2
    if information.sum() <= 0:
        return 0.0
    power = float(np.sum(count * lever * value / noise**2) / information.sum())
    return power if power > _SURE_SIGMAS / math.sqrt(float(information.sum())) else 0.0


def _smooth(values: NDArray[np.float64], count: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over three neighbouring rings weighted by their counts."""
    kernel = np.array([0.5, 1.0, 0.5])
    return np.convolve(values * count, kernel, "same") / np.maximum(np.convolve(count, kernel, "same"), 1e-9)


def _gradient(
    spectra: Spectra,
    shifts: NDArray[np.float64],
    full_shape_yx: tuple[int, int],
    rings: _Rings,
    powers: _Powers,
) -> NDArray[np.float64]:
    """Gradient of the log likelihood by the shifts, ``(frame, 2)`` in 1/px."""
    band = (spectra.shape[1], 2 * (spectra.shape[2] - 1))
    ramps_y, ramps_x = phase_ramps(-shifts, full_shape_yx, band)
    sums = likelihood_gradient(
        torch.from_numpy(spectra),
        torch.from_numpy(ramps_y),
        torch.from_numpy(ramps_x),
        torch.from_numpy(rings.index),
        torch.from_numpy(rings.reach),
        torch.from_numpy(powers.signal_to_noise),
        torch.from_numpy(powers.pattern_to_noise),
        torch.from_numpy(powers.weight),
        serial=spectra.size <= _SHARED_FROM,
    )
    return -4 * math.pi * sums.numpy() / np.array(full_shape_yx)


def _newton_step(
    shifts: NDArray[np.float64],
    gradient: NDArray[np.float64],
    information: _Floats,
    precision: _Floats,
) -> NDArray[np.float64]:
    """Step to the maximum of the quadratic posterior, per axis."""
    n = len(shifts)
    laplacian = n * np.eye(n) - 1.0
    slope = gradient - precision @ shifts
    steps = [np.linalg.solve(information[axis] * laplacian + precision, slope[:, axis]) for axis in (0, 1)]
    # The common position of all frames is determined by neither likelihood nor prior.
    return np.stack([s - s.mean() for s in steps], axis=1)


def _expected_error(information: _Floats, precision: _Floats) -> NDArray[np.float64]:
    """Posterior rms error by axis of shifts relative to their mean."""
    n = len(precision)
    centring = np.eye(n) - 1.0 / n
    laplacian = n * np.eye(n) - 1.0
    covariances = [centring @ np.linalg.inv(h * laplacian + precision) @ centring for h in information]
    return np.sqrt([np.trace(c) / n for c in covariances])
