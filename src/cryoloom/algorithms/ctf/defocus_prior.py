"""Prior on the defocus of one tilt from the other tilts: heavy-tailed, smooth in time and in tilt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.defocus_fit import DefocusFit
from cryoloom.algorithms.ctf.series_model import GRID_STEP_ANGSTROM, TiltRings, is_seen

__all__ = [
    "consensus",
    "defocus_covariance",
    "log_prior",
    "pick",
    "predict_each",
    "squared_exponential",
    "student_weight",
]

# Scales of the prior on defocus: autofocus drift over some exposures, and a stage that is not eucentric.
DRIFT_ANGSTROM, DRIFT_EXPOSURES = 2000.0, 10.0
ECCENTRIC_ANGSTROM, ECCENTRIC_DEG = 2000.0, 40.0
ANY_LEVEL_ANGSTROM = 1e5
MIN_JITTER_ANGSTROM = 150.0
STUDENT_DEGREES_OF_FREEDOM = 3.0


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
    # "No rings" has gain 0 for every exposure.
    return float(grid[best]), float(evidence[best])


def pick(
    curves: NDArray[np.float64],
    grid: NDArray[np.float64],
    prior: NDArray[np.float64],
    prior_sd: NDArray[np.float64],
) -> list[float]:
    """Grid defocus of largest posterior for each exposure under the heavy-tailed prior."""
    return [float(grid[i]) for i in np.argmax(curves + log_prior(grid, prior, prior_sd), axis=1)]


def log_prior(
    grid: NDArray[np.float64], prior: NDArray[np.float64], prior_sd: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Heavy-tailed prior at every defocus of a grid for each exposure, ``(tilt, grid)`` in nats."""
    deviation = (grid - prior[:, None]) / prior_sd[:, None]
    return -0.5 * (STUDENT_DEGREES_OF_FREEDOM + 1) * np.log1p(deviation**2 / STUDENT_DEGREES_OF_FREEDOM)


def predict_each(
    tilts: Sequence[TiltRings], fits: Sequence[DefocusFit]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Defocus of each exposure predicted from the others, its standard deviation, and the jitter.

    Gaussian-process regression in time and tilt, leave-one-out in closed form (Rasmussen & Williams 2006, eq.
    5.12); tilts without rings have no weight, outliers little.
    """
    values = np.array([f.defocus_angstrom for f in fits])
    # From the data alone: a fit that depends on its prior must not confirm it.
    variance = np.array([f.data_sd_angstrom**2 if is_seen(f) else 1e10 for f in fits])
    smooth = _smooth_covariance(tilts)
    jitter, robust = 1000.0, np.ones(len(tilts))
    for _ in range(8):
        covariance = smooth + np.diag((variance + jitter**2) / robust)
        inverse = np.linalg.inv(covariance)
        loo_variance = 1.0 / np.diag(inverse)
        residual = (inverse @ values) * loo_variance
        seen = np.array([is_seen(f) for f in fits])
        total_sd = np.sqrt(loo_variance)
        scaled = np.abs(residual) / total_sd
        robust = student_weight(scaled)
        if seen.sum() >= 4:
            jitter *= float(np.clip(np.median(scaled[seen]) / 0.6745, 0.5, 2.0))
        jitter = float(np.clip(jitter, MIN_JITTER_ANGSTROM, 4000.0))
    own = variance / robust
    predictive = np.sqrt(np.maximum(loo_variance - own, jitter**2))
    return values - residual, predictive, jitter


def student_weight(deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Precision, over the prior's, of a Gaussian with the slope of `log_prior` at this deviation."""
    return np.asarray((STUDENT_DEGREES_OF_FREEDOM + 1) / (STUDENT_DEGREES_OF_FREEDOM + deviation**2))


def defocus_covariance(
    tilts: Sequence[TiltRings], jitter_angstrom: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of the defoci before any is measured, ``(exposure, exposure)``, each with its own jitter."""
    return np.asarray(_smooth_covariance(tilts) + np.diag(jitter_angstrom**2))


def _smooth_covariance(tilts: Sequence[TiltRings]) -> NDArray[np.float64]:
    time = np.array([tilt.acquisition_index for tilt in tilts], dtype=float)
    angle = np.array([tilt.tilt_deg for tilt in tilts])
    drift = DRIFT_ANGSTROM**2 * squared_exponential(time, DRIFT_EXPOSURES)
    eccentric = ECCENTRIC_ANGSTROM**2 * squared_exponential(angle, ECCENTRIC_DEG)
    return np.asarray(drift + eccentric + ANY_LEVEL_ANGSTROM**2)


def squared_exponential(x: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """Correlation of every pair of places, ``(n, n)``."""
    return np.exp(-0.5 * (np.subtract.outer(x, x) / length) ** 2)
