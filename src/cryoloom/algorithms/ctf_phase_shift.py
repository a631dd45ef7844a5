"""Phase shift of a phase plate, exposure by exposure.

It moves the rings as a change of defocus does, but equally at all frequencies; a phase plate charges, so that
it changes slowly from exposure to exposure. Rings repeat every 180 degrees of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.ctf_model import TiltRings
from cryoloom.algorithms.ctf_prior import squared_exponential

__all__ = ["phase_shift_covariance", "with_coarse_phase_shift", "with_phase_shifts"]

COARSE_STEP_DEG = 15.0
# The least tilted exposures speak for all when the series' phase shift is looked for.
N_COARSE = 8
# Prior: any level, a slow change with the charging of the plate, and what one exposure adds to it.
ANY_LEVEL_DEG = 1000.0
CHARGE_DEG, CHARGE_EXPOSURES, JITTER_DEG = 25.0, 12.0, 4.0


def with_coarse_phase_shift(
    tilts: Sequence[TiltRings], evidence: Callable[[Sequence[TiltRings]], float]
) -> list[TiltRings]:
    """Exposures with the one phase shift, of 0 to 165 degrees, for which ``evidence`` is largest."""
    least = sorted(tilts, key=lambda tilt: abs(tilt.tilt_deg))[:N_COARSE]
    values = np.arange(0.0, 180.0, COARSE_STEP_DEG)
    best = max(values, key=lambda value: evidence([_shifted(tilt, float(value)) for tilt in least]))
    return [_shifted(tilt, float(best)) for tilt in tilts]


def _shifted(tilt: TiltRings, phase_shift_deg: float) -> TiltRings:
    return replace(tilt, data=replace(tilt.data, phase_shift_deg=phase_shift_deg))


def phase_shift_covariance(tilts: Sequence[TiltRings]) -> NDArray[np.float64]:
    """Of the phase shifts before any is measured, ``(exposure, exposure)`` in degrees squared."""
    time = np.array([tilt.acquisition_index for tilt in tilts], dtype=float)
    smooth = CHARGE_DEG**2 * squared_exponential(time, CHARGE_EXPOSURES) + ANY_LEVEL_DEG**2
    return np.asarray(smooth + JITTER_DEG**2 * np.eye(len(tilts)))


def with_phase_shifts(
    tilts: Sequence[TiltRings],
    seen: Sequence[int],
    found_deg: NDArray[np.float64],
    found_sd_deg: NDArray[np.float64],
) -> list[TiltRings]:
    """Exposures with the phase shifts found of those at ``seen``; the others get what these predict."""
    covariance = phase_shift_covariance(tilts)
    measured = covariance[np.ix_(seen, seen)] + np.diag(found_sd_deg**2)
    values = covariance[:, seen] @ np.linalg.solve(measured, found_deg)
    values[seen] = found_deg
    return [_shifted(tilt, float(value)) for tilt, value in zip(tilts, values, strict=True)]
