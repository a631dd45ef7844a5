"""Amplitude and B-factor of the particles in each tilt, from how well the average explains them by shells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["TiltQuality", "fit_tilt_quality"]

Array = NDArray[np.float64]

_ROUNDS = 20  # chosen: steps of Newton, of which few are needed
_LARGEST_B_SD_ANGSTROM2 = 100.0
"""Chosen: prior of the B-factor of a tilt, of the size of those of later tilts."""
_MEASURED_DEVIATION = 0.7
"""Chosen: a deviation this far below the prior shows that the images determine B."""


@dataclass(frozen=True, slots=True)
class TiltQuality:
    """Of each tilt ``(tilt,)``; NaN where the tilt shows no particle, or too little of them."""

    scale: Array
    """Amplitude over that of the average: 1 if the dose weighting and the contrast are right."""
    b_factor_angstrom2: Array
    """``scale exp(-B k^2 / 4)`` describes the amplitude; relative to the average, so it may be negative."""
    b_factor_sd_angstrom2: Array


def fit_tilt_quality(cross: Array, quadratic: Array, box_angstrom: float) -> TiltQuality:
    """Fit scale and B-factor by weighted least squares.

    cross, quadratic : (tilt, shell) sums of ``Re D A*`` and ``W |A|^2``, shells of whole frequency over a
    box: their ratio is the amplitude, and ``1 / quadratic`` its variance.
    """
    squared = (np.arange(cross.shape[1]) / box_angstrom) ** 2 / 4.0
    scale, b, spread = (np.full(len(cross), np.nan) for _ in range(3))
    for t, (found, weight) in enumerate(zip(cross, quadratic, strict=True)):
        if weight.sum() <= 0:
            continue
        ratio = np.divide(found, weight, out=np.zeros_like(found), where=weight > 0)
        parameters = np.array([found.sum() / weight.sum(), 0.0])
        for _ in range(_ROUNDS):
            falloff = np.exp(-np.clip(parameters[1] * squared, -4.0, 20.0))
            slopes = np.stack([falloff, -parameters[0] * squared * falloff])
            curvature = (slopes * weight) @ slopes.T
            gradient = slopes @ (weight * (ratio - parameters[0] * falloff))
            # A weak prior keeps B where the shells do not determine it.
            curvature[1, 1] += _LARGEST_B_SD_ANGSTROM2**-2
            gradient[1] -= parameters[1] * _LARGEST_B_SD_ANGSTROM2**-2
            parameters = parameters + np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        deviation = float(np.sqrt(np.linalg.inv(curvature + 1e-12 * np.eye(2))[1, 1]))
        scale[t] = parameters[0]
        if deviation < _MEASURED_DEVIATION * _LARGEST_B_SD_ANGSTROM2:
            b[t], spread[t] = parameters[1], deviation
    return TiltQuality(scale, b, spread)
