"""Drift of specimens during a tilt: a Gaussian process, learned from the tilts measured so far.

At 3 e/A^2 in eight frames the error of a single frame's shift is about the jitter of the stage. Shifts of one
series have one distribution, so its size is estimated by maximum marginal likelihood (empirical Bayes,
Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, chapter 5) and used for every tilt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

__all__ = ["ShiftMeasurement", "TrajectoryPrior", "learn_prior"]

#: Chosen: standard deviations before learning, and the factor (e^spread) by which learning changes them
#: easily.
_START_ANGSTROM = (6.0, 2.0, 0.4)
_SPREAD = 1.5
"""Chosen: a factor of 4.5 to either side."""


@dataclass(frozen=True, slots=True)
class ShiftMeasurement:
    """Shifts of one movie's frames without a prior, ``(frame, 2)``, and the information by axis.

    ``information_per_px2`` ``(2,)`` is h of the log likelihood's Hessian ``-h (n I - 1 1^T)`` along y and x.
    """

    shifts_yx_px: NDArray[np.float64]
    information_per_px2: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrajectoryPrior:
    """Covariance of positions during an exposure: steady drift that changes, random walk, and jitter.

    All are standard deviations per axis in pixels over the whole exposure; the jitter is that of one frame.
    """

    drift_px: float
    walk_px: float
    jitter_px: float

    @classmethod
    def start(cls, pixel_size_angstrom: float) -> TrajectoryPrior:
        """Return the prior before any movie of the series was measured."""
        return cls(*(value / pixel_size_angstrom for value in _START_ANGSTROM))

    def as_array(self) -> NDArray[np.float64]:
        """Drift, walk and jitter, ``(3,)``."""
        return np.array([self.drift_px, self.walk_px, self.jitter_px])

    def covariance(self, n_frames: int) -> NDArray[np.float64]:
        """Covariance of the shifts of ``n_frames``, ``(frame, frame)``, up to a constant offset."""
        t = (np.arange(n_frames) + 0.5) / n_frames
        early, late = np.minimum.outer(t, t), np.maximum.outer(t, t)
        # Integrated Wiener process (the cubic smoothing spline's covariance) plus a slope of the same size.
        bending = early**2 * (late / 2 - early / 6)
        return (
            self.drift_px**2 * (np.outer(t, t) + 3.0 * bending)
            + self.walk_px**2 * early
            + self.jitter_px**2 * np.eye(n_frames)
        )


def learn_prior(measurements: Sequence[ShiftMeasurement], start: TrajectoryPrior) -> TrajectoryPrior:
    """Return the prior that makes the measured shifts most probable; ``start`` is its weak hyperprior."""
    origin = np.log([start.drift_px, start.walk_px, start.jitter_px])
    groups: dict[int, list[ShiftMeasurement]] = {}
    for measurement in measurements:
        groups.setdefault(len(measurement.shifts_yx_px), []).append(measurement)
    gathered = [_contrasts(n, group) for n, group in groups.items() if n > 1]

    def cost(log_px: NDArray[np.float64]) -> float:
        prior = TrajectoryPrior(*np.exp(log_px))
        value = 0.5 * float(np.sum(((log_px - origin) / _SPREAD) ** 2))
        for contrasts, values, noise in gathered:
            variances, basis = np.linalg.eigh(contrasts @ prior.covariance(contrasts.shape[1]) @ contrasts.T)
            total = np.maximum(variances, 0.0) + noise[:, None]
            value += 0.5 * float(np.sum((values @ basis) ** 2 / total + np.log(total)))
        return value

    simplex = origin + 0.7 * np.vstack([np.zeros(3), np.eye(3)])
    options = {"maxfev": 150, "xatol": 0.02, "fatol": 0.02, "initial_simplex": simplex}
    found = minimize(cost, origin, method="Nelder-Mead", options=options)
    return TrajectoryPrior(*np.exp(found.x))


def _contrasts(
    n: int, group: list[ShiftMeasurement]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Orthonormal differences ``(n - 1, n)``, their values ``(m, n - 1)`` and noise variances ``(m,)``."""
    contrasts = np.linalg.svd(np.eye(n) - 1.0 / n)[2][: n - 1]
    values = [contrasts @ m.shifts_yx_px[:, axis] for m in group for axis in (0, 1)]
    noise = [1.0 / (n * max(float(m.information_per_px2[axis]), 1e-12)) for m in group for axis in (0, 1)]
    return contrasts, np.array(values), np.array(noise)
