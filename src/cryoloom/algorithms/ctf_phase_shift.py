"""Phase shift of a phase plate, exposure by exposure.

It moves the rings as a change of defocus does, but equally at all frequencies; a phase plate charges, so that
it changes slowly from exposure to exposure. Rings repeat every 180 degrees of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.ctf_fit import DefocusFit, ring_phase, tile_offsets
from cryoloom.algorithms.ctf_model import SeriesModel, TiltRings, at_origin, is_seen
from cryoloom.algorithms.ctf_prior import squared_exponential

__all__ = ["with_coarse_phase_shift", "with_phase_shifts"]

COARSE_STEP_DEG = 15.0
# The least tilted exposures speak for all when the series' phase shift is looked for.
N_COARSE = 8
# Prior: any level, a slow change with the charging of the plate, and what one exposure adds to it.
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


def with_phase_shifts(
    tilts: Sequence[TiltRings],
    model: SeriesModel,
    fits: Sequence[DefocusFit],
    prior_angstrom: NDArray[np.float64],
    prior_sd_angstrom: NDArray[np.float64],
) -> tuple[list[TiltRings], list[DefocusFit]]:
    """Exposures and fits with phase shift and defocus refined together, each under the prior of the others.

    Those without rings of their own get the phase shift predicted from the others.
    """
    measured = [_refined(tilt, model, fit, math.inf) for tilt, fit in zip(tilts, fits, strict=True)]
    time = np.array([tilt.acquisition_index for tilt in tilts], dtype=float)
    known = np.array([is_seen(fit) for fit in fits])
    values = np.array([value for value, _, _ in measured])
    variance = np.where(known, np.array([sd**2 for _, sd, _ in measured]), 1e8)
    covariance = CHARGE_DEG**2 * squared_exponential(time, CHARGE_EXPOSURES) + 1e6
    smooth = covariance @ np.linalg.solve(covariance + np.diag(variance + JITTER_DEG**2), values)
    shifted, refined = [], []
    for i, (tilt, fit) in enumerate(zip(tilts, fits, strict=True)):
        if not known[i]:
            shifted.append(_shifted(tilt, float(smooth[i]) % 180.0))
            refined.append(fit)
            continue
        start = _shifted(tilt, float(smooth[i]))
        value, _, better = _refined(
            start, model, fit, JITTER_DEG, (float(prior_angstrom[i]), float(prior_sd_angstrom[i]))
        )
        shifted.append(_shifted(tilt, value % 180.0))
        refined.append(better)
    return shifted, refined


def _refined(
    tilt: TiltRings,
    model: SeriesModel,
    fit: DefocusFit,
    sd_deg: float,
    defocus_prior: tuple[float, float] = (0.0, math.inf),
    n_iterations: int = 6,
) -> tuple[float, float, DefocusFit]:
    """Phase shift in degrees, its standard deviation, and the fit with its defocus, by Fisher scoring.

    The phase shift of ``tilt`` is where the search begins, and the mean of its prior.
    """
    data, slope = at_origin(tilt), model.slope(tilt)
    template = model.template(tilt, fit.defocus_angstrom)
    offsets = tile_offsets(data, slope, fit.axial_angstrom, fit.diagonal_angstrom)
    weight = data.weight * template.precision
    # Of the rings' phase by defocus in angstrom and by phase shift in degrees.
    rates = torch.stack(
        [data.phase_per_angstrom, torch.full_like(data.phase_per_angstrom, math.radians(2.0))]
    )
    centre = np.array([defocus_prior[0], data.phase_shift_deg])
    precision = np.array([1 / defocus_prior[1] ** 2, 1 / sd_deg**2])
    x = np.array([fit.defocus_angstrom, data.phase_shift_deg])

    def evaluate(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        moved = replace(data, phase_shift_deg=float(at[1]))
        phase = ring_phase(moved, float(at[0]) + offsets)
        expected, quadrature = -template.modulation * torch.cos(phase), template.modulation * torch.sin(phase)
        gain = float((weight * (data.residual * expected - 0.5 * expected.square())).double().sum())
        misfit = (weight * (data.residual - expected) * quadrature).sum(dim=(0, 1))
        information = (weight * quadrature.square()).sum(dim=(0, 1))
        gradient = (rates @ misfit).double().cpu().numpy() - precision * (at - centre)
        curvature = ((rates * information) @ rates.T).double().cpu().numpy() + np.diag(precision)
        return gain - 0.5 * float(precision @ (at - centre) ** 2), gradient, curvature

    posterior, gradient, curvature = evaluate(x)
    for _ in range(n_iterations):
        move = np.linalg.solve(curvature + 1e-12 * np.eye(2), gradient)
        move *= min(1.0, 300.0 / max(abs(move[0]), 1e-9), 20.0 / max(abs(move[1]), 1e-9))
        trial = evaluate(x + move)
        if trial[0] <= posterior:
            break
        x, (posterior, gradient, curvature) = x + move, trial
    covariance = np.linalg.inv(curvature + 1e-12 * np.eye(2))
    better = replace(
        fit, defocus_angstrom=float(x[0]), sd_angstrom=math.sqrt(max(float(covariance[0, 0]), 1e-9))
    )
    return float(x[1]), math.sqrt(max(float(covariance[1, 1]), 1e-9)), better
