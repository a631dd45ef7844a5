"""Pretilt of the specimen on the stage from the transmitted electrons.

A slab of thickness T transmits ``exp(-T / (L cos(t + offset)))`` of the electrons. The images' mean intensity
over tilt t so gives the nominal tilt at which the beam would be perpendicular to the specimen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from cryoloom.geometry.slab_path import slab_path

__all__ = ["TransmissionFit", "fit_transmission"]

LEAST_TILTS, LEAST_RANGE_DEG = 8, 50.0
"""Below, three parameters are not determined by the intensities."""
LEAST_THICKNESS = 0.02
"""Chosen, over the mean free path: thinner ice does not weaken steep images visibly."""
AT_LIMIT = 0.98
"""Chosen: part of the largest offset: beyond it the fit ended at its bound."""

Array = NDArray[np.float64]

LARGEST_OFFSET_DEG = 25.0  # chosen: above the angles at which lamellae are milled


@dataclass(frozen=True, slots=True)
class TransmissionFit:
    """Offset to add to nominal tilts, its standard error, and the thickness over the mean free path."""

    offset_deg: float
    error_deg: float
    relative_thickness: float


def fit_transmission(
    mean_counts: Array, tilt_deg: Array, usable: NDArray[np.bool_]
) -> TransmissionFit | None:
    """Fit the intensities of a series; None if they are not suited (normalised images, a short range).

    Robust (soft L1): a grid bar or a thick particle in a few images has little effect. The error comes from
    the scatter about the fit, so it includes fluctuations of the beam.
    """
    counts, tilt = mean_counts[usable], np.deg2rad(tilt_deg[usable])
    if len(tilt) < LEAST_TILTS or np.ptp(tilt) < np.deg2rad(LEAST_RANGE_DEG) or counts.min() <= 0:
        return None
    bright = np.log(counts)
    limit = np.deg2rad(LARGEST_OFFSET_DEG)

    def miss(values: Array) -> Array:
        steep = np.clip(tilt + values[2], -np.deg2rad(85), np.deg2rad(85))
        return values[0] - values[1] * slab_path(steep) - bright

    start = np.array([float(bright.max()) + 0.3, 0.3, 0.0])
    bounds = ([-np.inf, 0.0, -limit], [np.inf, 10.0, limit])
    rough = least_squares(miss, start, bounds=bounds)
    scale = max(1.4826 * float(np.median(np.abs(rough.fun))), 1e-5)
    fit = least_squares(miss, rough.x, bounds=bounds, loss="soft_l1", f_scale=2 * scale)
    thickness, offset = float(fit.x[1]), float(fit.x[2])
    if thickness < LEAST_THICKNESS or abs(offset) > AT_LIMIT * limit:
        return None
    scatter = max(1.4826 * float(np.median(np.abs(miss(fit.x)))), 1e-5)
    covariance = np.linalg.pinv(fit.jac.T @ fit.jac) * scatter**2
    return TransmissionFit(float(np.rad2deg(offset)), float(np.rad2deg(np.sqrt(covariance[2, 2]))), thickness)
