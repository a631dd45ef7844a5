"""Prior on the defocus of one tilt from the other tilts: heavy-tailed, smooth in time and in tilt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.series_model import GRID_STEP_ANGSTROM, TiltRings

__all__ = [
    "consensus",
    "defocus_covariance",
    "log_prior",
    "smooth_covariance",
    "squared_exponential",
    "student_weight",
]

# Scales of the prior on defocus: autofocus drift over some tilts, and a stage that is not eucentric.
DRIFT_ANGSTROM, DRIFT_EXPOSURES = 2000.0, 10.0
ECCENTRIC_ANGSTROM, ECCENTRIC_DEG = 2000.0, 40.0
"""Chosen: drift of the height with the tilt of a stage that is not eucentric."""
ANY_LEVEL_ANGSTROM = 1e5  # larger than any defocus: the mean is free
STUDENT_DEGREES_OF_FREEDOM = 3.0  # chosen: tails so heavy that a tilt far off pulls no other


def consensus(curves: NDArray[np.float64], grid: NDArray[np.float64]) -> tuple[float, float]:
    """Defocus about which most tilts show rings, and the log evidence for it over the range's average.

    Each tilt lies within 1500 angstrom (one standard deviation) of it, or, one in ten, anywhere, or, as
    often, shows no rings: a tilt without the expected rings must not count against the others.
    """
    peak = curves.max(axis=1, keepdims=True)
    likelihood = np.exp(np.maximum(curves - peak, -700.0))
    half = np.arange(-45, 46) * GRID_STEP_ANGSTROM
    kernel = np.exp(-0.5 * (half / 1500.0) ** 2)
    kernel /= kernel.sum()
    # Not mode="same": of a range narrower than the kernel that gives the kernel's length.
    near = np.stack([np.convolve(row, kernel)[len(half) // 2 :][: len(grid)] for row in likelihood])
    none = np.exp(np.clip(-peak, -700.0, 700.0))
    mixed = 0.8 * near + 0.1 * likelihood.mean(axis=1, keepdims=True) + 0.1 * none
    evidence = np.log(np.maximum(mixed, 1e-300)).sum(axis=0) + float(peak.sum())
    best = int(np.argmax(evidence))
    # "No rings" has gain 0 for every tilt.
    return float(grid[best]), float(evidence[best])


def log_prior(
    grid: NDArray[np.float64], prior: NDArray[np.float64], prior_sd: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Heavy-tailed prior at every defocus of a grid for each tilt, ``(tilt, grid)`` in nats."""
    deviation = (grid - prior[:, None]) / prior_sd[:, None]
    return -0.5 * (STUDENT_DEGREES_OF_FREEDOM + 1) * np.log1p(deviation**2 / STUDENT_DEGREES_OF_FREEDOM)


def student_weight(deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Precision, over the prior's, of a Gaussian with the slope of `log_prior` at this deviation."""
    return np.asarray((STUDENT_DEGREES_OF_FREEDOM + 1) / (STUDENT_DEGREES_OF_FREEDOM + deviation**2))


def defocus_covariance(
    tilts: Sequence[TiltRings], jitter_angstrom: NDArray[np.float64], part: float = 1.0
) -> NDArray[np.float64]:
    """Covariance of the defoci before any is measured, ``(tilt, tilt)``, each with its own jitter."""
    return np.asarray(smooth_covariance(tilts, part) + np.diag(jitter_angstrom**2))


def smooth_covariance(tilts: Sequence[TiltRings], part: float = 1.0) -> NDArray[np.float64]:
    """Covariance of the defoci without jitter, ``(tilt, tilt)``.

    ``part`` of the usual variation, any level.
    """
    time = np.array([tilt.acquisition_index for tilt in tilts], dtype=float)
    angle = np.array([tilt.tilt_deg for tilt in tilts])
    drift = DRIFT_ANGSTROM**2 * squared_exponential(time, DRIFT_EXPOSURES)
    eccentric = ECCENTRIC_ANGSTROM**2 * squared_exponential(angle, ECCENTRIC_DEG)
    return np.asarray(part**2 * (drift + eccentric) + ANY_LEVEL_ANGSTROM**2)


def squared_exponential(x: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """Correlation of every pair of places, ``(n, n)``."""
    return np.exp(-0.5 * (np.subtract.outer(x, x) / length) ** 2)
