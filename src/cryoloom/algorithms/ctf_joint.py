"""Defoci, phase shifts, backgrounds and strength of the rings of a whole series, refined all together.

A background can make up for part of a change of defocus, and for more of one of phase shift, as a phase
plate's is told by the lowest rings; a strength of the rings that is wrong misleads both. Taken in turns, each
is fitted to what is left of the others' errors, and dozens of turns do not end it. Here they move together,
by Fisher scoring: the exposures' backgrounds are eliminated in closed form (variable projection; Golub and
Pereyra, SIAM J. Numer. Anal. 10, 1973), and the rest is one linear system.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.ctf_fit import DefocusFit, background_basis, ring_phase, tile_offsets
from cryoloom.algorithms.ctf_model import SeriesModel, TiltRings, at_origin
from cryoloom.algorithms.ctf_shared import STRONGEST_RINGS, strength_basis

__all__ = ["JointFit", "refine_jointly"]

MAX_MOVE_ANGSTROM, MAX_MOVE_DEG = 300.0, 15.0
SMALL_MOVE_ANGSTROM, SMALL_MOVE_DEG = 1.0, 0.05
# Relative to the mean curvature: curves that no ring speaks of stay where they are.
RIDGE = 1e-6

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class JointFit:
    """Result of `refine_jointly`, in the order of the exposures given."""

    model: SeriesModel
    """As given, with the strength of the rings found."""
    defocus_angstrom: Array
    phase_shift_deg: Array
    defocus_sd_angstrom: Array
    """Everything else free, priors included."""
    phase_covariance: Array
    """Of the phase shifts, ``(exposure, exposure)``; zero where they are kept."""
    data_sd_angstrom: Array
    """Of the defocus from the exposure alone, its background free."""


def refine_jointly(
    tilts: Sequence[TiltRings],
    model: SeriesModel,
    fits: Sequence[DefocusFit],
    defocus_covariance: Array,
    phase_covariance: Array | None = None,
    n_iterations: int = 8,
) -> JointFit:
    """Refine from the fits' defoci and the exposures' phase shifts; these are kept without a covariance.

    defocus_covariance, phase_covariance : (exposure, exposure) of the priors, about any common level.
    """
    basis = strength_basis(tilts[0].data.band)
    exposures = [_Exposure(tilt, model, fit, basis) for tilt, fit in zip(tilts, fits, strict=True)]
    n, n_curves = len(tilts), basis.shape[1]
    n_all = 2 * n + n_curves
    # Defoci, then phase shifts, then the strength's coefficients.
    places = [[i, n + i, *range(2 * n, n_all)] for i in range(n)]
    precision = np.zeros((n_all, n_all))
    precision[:n, :n] = np.linalg.inv(defocus_covariance)
    if phase_covariance is not None:
        precision[n : 2 * n, n : 2 * n] = np.linalg.inv(phase_covariance)
    free = np.ones(n_all, dtype=bool)
    free[n : 2 * n] = phase_covariance is not None
    limits = np.repeat([MAX_MOVE_ANGSTROM, MAX_MOVE_DEG, np.inf], [n, n, n_curves])
    small = np.repeat([SMALL_MOVE_ANGSTROM, SMALL_MOVE_DEG, np.inf], [n, n, n_curves])

    def evaluate(x: Array) -> tuple[float, list[_Evidence]]:
        found = [one.evidence(x[at]) for one, at in zip(exposures, places, strict=True)]
        return sum(one.gain for one in found) - 0.5 * float(x @ precision @ x), found

    x = np.concatenate(
        [
            [fit.defocus_angstrom for fit in fits],
            [tilt.data.phase_shift_deg for tilt in tilts],
            np.linalg.lstsq(basis, model.spectrum, rcond=None)[0],
        ]
    )
    posterior, evidence = evaluate(x)
    for _ in range(n_iterations):
        system, gradient = precision.copy(), -precision @ x
        for at, one in zip(places, evidence, strict=True):
            system[np.ix_(at, at)] += one.information
            gradient[at] += one.gradient
        strengths = system.diagonal()[2 * n :]
        system[range(2 * n, n_all), range(2 * n, n_all)] += RIDGE * strengths.mean()
        move = np.zeros(n_all)
        move[free] = np.linalg.solve(system[np.ix_(free, free)], gradient[free])
        move = np.clip(move, -limits, limits)
        trial = evaluate(x + move)
        if trial[0] < posterior:
            move *= 0.3
            trial = evaluate(x + move)
        if trial[0] < posterior:
            break
        x, (posterior, evidence) = x + move, trial
        if (np.abs(move) < small).all():
            break
    covariance = np.zeros((n_all, n_all))
    covariance[np.ix_(free, free)] = np.linalg.inv(system[np.ix_(free, free)])
    sd = np.sqrt(np.maximum(covariance.diagonal(), 1e-9))
    alone = [1 / math.sqrt(max(one.information[0, 0], 1e-12)) for one in evidence]
    strength = np.clip(basis @ x[2 * n :], 0.0, STRONGEST_RINGS)
    return JointFit(
        replace(model, spectrum=strength),
        x[:n],
        x[n : 2 * n],
        sd[:n],
        covariance[n : 2 * n, n : 2 * n],
        np.array(alone),
    )


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What an exposure says about its defocus, its phase shift and the strength, its background free."""

    gain: float
    gradient: Array
    information: Array


class _Exposure:
    """Likelihood of the rings of one exposure."""

    def __init__(self, tilt: TiltRings, model: SeriesModel, fit: DefocusFit, basis: Array) -> None:
        self.data = at_origin(tilt)
        unit = replace(model, spectrum=np.ones(self.data.band.n_rings))
        self.template = unit.template(tilt, fit.defocus_angstrom)
        self.offsets = tile_offsets(self.data, model.slope(tilt), fit.axial_angstrom, fit.diagonal_angstrom)
        self.weight = self.data.weight * self.template.precision
        self.strength = basis.T
        self.background = background_basis(self.data.band).T
        # Of the rings' phase by defocus in angstrom and by phase shift in degrees, (2, ring).
        per_angstrom = self.data.phase_per_angstrom.double().cpu().numpy()
        self.rates = np.stack([per_angstrom, np.full_like(per_angstrom, math.radians(2.0))])

    def evidence(self, x: Array) -> _Evidence:
        """At a defocus, a phase shift and the coefficients of the strength.

        The power, over the background as it was, is ``B (1 - s c)``: B the background anew, s the strength,
        c the cosine of the rings' phase. s and B are of a ring alone, so sums over its tiles and sectors do.
        """
        s = np.clip(x[2:] @ self.strength, 0.0, STRONGEST_RINGS)
        cosine, sine = self._rings(float(x[0]), float(x[1]))
        power = 1 + self.data.residual
        w, wc, ws, wcc, wss, wcs, wp, wpc, wps = (
            self._total(values)
            for values in (
                torch.ones_like(power), cosine, sine, cosine.square(), sine.square(), cosine * sine,
                power, power * cosine, power * sine,
            )
        )  # fmt: skip
        bb = w - 2 * s * wc + s**2 * wcc
        curvature = (self.background * bb) @ self.background.T
        curvature += RIDGE * curvature.diagonal().mean() * np.eye(len(curvature))
        coefficients = np.linalg.solve(curvature, self.background @ (wp - s * wpc))
        level = coefficients @ self.background
        turned, stronger = self.rates * s * level, -self.strength * level
        left_s, left_c = wps - level * (ws - s * wcs), wpc - level * (wc - s * wcc)
        gradient = np.concatenate([turned @ left_s, stronger @ left_c])
        mixed = (turned * wcs) @ stronger.T
        squares = np.block([[(turned * wss) @ turned.T, mixed], [mixed.T, (stronger * wcc) @ stronger.T]])
        coupling = np.concatenate([turned * (ws - s * wcs), stronger * (wc - s * wcc)]) @ self.background.T
        information = squares - coupling @ np.linalg.solve(curvature, coupling.T)
        gain = float((level * (wp - s * wpc) - 0.5 * level**2 * bb).sum())
        return _Evidence(gain, gradient, information)

    def _rings(self, defocus_angstrom: float, phase_shift_deg: float) -> tuple[torch.Tensor, torch.Tensor]:
        moved = replace(self.data, phase_shift_deg=phase_shift_deg)
        phase = ring_phase(moved, defocus_angstrom + self.offsets)
        return self.template.modulation * torch.cos(phase), self.template.modulation * torch.sin(phase)

    def _total(self, values: torch.Tensor) -> Array:
        """Weighted sum over tiles and sectors, ``(ring,)``."""
        return np.asarray((self.weight * values.sum(dim=0)).sum(dim=0).double().cpu().numpy())
