"""Phase shift of a phase plate, tilt by tilt.

It moves the rings as a change of defocus does, but equally at all frequencies; a phase plate charges, so it
changes slowly from tilt to tilt. Rings repeat every 180 degrees of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.defocus_prior import squared_exponential
from cryoloom.algorithms.ctf.series_model import TiltRings

__all__ = [
    "MOST_JITTER_DEG",
    "likeliest_jitter_deg",
    "phase_shift_covariance",
    "with_coarse_phase_shift",
    "with_phase_shifts",
]

COARSE_STEP_DEG = 15.0  # chosen: a twelfth of the range of the first search
#: Chosen: number of the least tilted images that first determine the phase shift of the series.
N_COARSE = 8
# Prior: any level, a slow change with the charging of the plate, and a jitter of each tilt.
ANY_LEVEL_DEG = 1000.0
CHARGE_DEG, CHARGE_EXPOSURES = 25.0, 12.0
"""Chosen: smooth change of a plate that charges, over a third of a series."""
JITTERS_DEG = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # chosen: tried in turn; the likelihood of the series chooses
MOST_JITTER_DEG = JITTERS_DEG[-1]


def with_coarse_phase_shift(
    tilts: Sequence[TiltRings], evidence: Callable[[Sequence[TiltRings]], float]
) -> list[TiltRings]:
    """Tilts with the one phase shift, of 0 to 165 degrees, for which ``evidence`` is largest."""
    least = sorted(tilts, key=lambda tilt: abs(tilt.tilt_deg))[:N_COARSE]
    values = np.arange(0.0, 180.0, COARSE_STEP_DEG)
    best = max(values, key=lambda value: evidence([_shifted(tilt, float(value)) for tilt in least]))
    return [_shifted(tilt, float(best)) for tilt in tilts]


def _shifted(tilt: TiltRings, phase_shift_deg: float) -> TiltRings:
    return replace(tilt, data=replace(tilt.data, phase_shift_deg=phase_shift_deg))


def phase_shift_covariance(
    tilts: Sequence[TiltRings], jitter_deg: float = MOST_JITTER_DEG
) -> NDArray[np.float64]:
    """Covariance of the phase shifts before any is measured, ``(tilt, tilt)`` in degrees squared."""
    time = np.array([tilt.acquisition_index for tilt in tilts], dtype=float)
    smooth = CHARGE_DEG**2 * squared_exponential(time, CHARGE_EXPOSURES) + ANY_LEVEL_DEG**2
    return np.asarray(smooth + jitter_deg**2 * np.eye(len(tilts)))


def likeliest_jitter_deg(
    tilts: Sequence[TiltRings],
    found_deg: NDArray[np.float64],
    found_covariance: NDArray[np.float64],
    jitter_deg: float,
) -> float:
    """Jitter of largest evidence, from phase shifts that were found under one of ``jitter_deg``.

    found_covariance : (tilt, tilt), that prior included. Rasmussen & Williams 2006, eq. 2.30, for
    measurements of which the information is given.
    """
    precision = np.linalg.inv(found_covariance)
    information = precision - np.linalg.inv(phase_shift_covariance(tilts, jitter_deg))
    weighted = precision @ found_deg

    def evidence(jitter: float) -> float:
        prior = phase_shift_covariance(tilts, jitter)
        both = np.eye(len(tilts)) + prior @ information
        return float(
            0.5 * weighted @ np.linalg.solve(both, prior @ weighted) - 0.5 * np.linalg.slogdet(both)[1]
        )

    return max(JITTERS_DEG, key=evidence)


def with_phase_shifts(
    tilts: Sequence[TiltRings],
    seen: Sequence[int],
    found_deg: NDArray[np.float64],
    found_sd_deg: NDArray[np.float64],
    jitter_deg: float,
) -> list[TiltRings]:
    """Tilts with the phase shifts found at ``seen``; the others get the prediction from these."""
    covariance = phase_shift_covariance(tilts, jitter_deg)
    measured = covariance[np.ix_(seen, seen)] + np.diag(found_sd_deg**2)
    values = covariance[:, seen] @ np.linalg.solve(measured, found_deg)
    values[seen] = found_deg
    return [_shifted(tilt, float(value)) for tilt, value in zip(tilts, values, strict=True)]
