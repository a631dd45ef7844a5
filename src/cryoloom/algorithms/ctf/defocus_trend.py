"""Defoci that do not follow those of the other tilts: rings that were taken for others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["off_the_trend"]

Array = NDArray[np.float64]

LEAST_OFF_ANGSTROM = 2500.0
"""Chosen: autofocus leaves some hundred angstrom, a stage that is not eucentric a slope, more at the ends."""
DEVIATIONS = 5.0  # chosen: of the scatter about the trend, to be called off it
LEAST_TILTS = 6  # chosen: fewer define no trend


def off_the_trend(tilt_deg: Array, defocus_angstrom: Array) -> Array:
    """Distance of each tilt's defocus from the line that most of them follow, ``(n,)``; 0 if it is near.

    The line is that of Theil (1950) and Sen (1968): three tilts in ten may be anywhere.
    """
    n = len(tilt_deg)
    first, second = np.triu_indices(n, 1)
    run = tilt_deg[second] - tilt_deg[first]
    apart = run != 0
    if n < LEAST_TILTS or not apart.any():
        return np.zeros(n)
    rise = defocus_angstrom[second] - defocus_angstrom[first]
    residual = defocus_angstrom - float(np.median(rise[apart] / run[apart])) * tilt_deg
    residual = residual - np.median(residual)
    spread = 1.4826 * float(np.median(np.abs(residual)))
    return np.where(np.abs(residual) > max(LEAST_OFF_ANGSTROM, DEVIATIONS * spread), residual, 0.0)
