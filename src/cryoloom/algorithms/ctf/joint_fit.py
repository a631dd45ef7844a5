"""Joint refinement of defoci, phase shifts, backgrounds and ring amplitude of a whole series.

A background can compensate part of a change of defocus, and more of a change of phase shift, since the phase
shift of a phase plate is determined by the lowest rings; a wrong ring amplitude biases both. Alternating fits
would take dozens of rounds. Here all are refined together by Fisher scoring: the backgrounds are eliminated
in closed form, and the rest is one linear system.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.defocus_fit import DefocusFit
from cryoloom.algorithms.ctf.series_model import (
    ASTIGMATISM_SD_ANGSTROM,
    STRONGEST_RINGS,
    SeriesModel,
    TiltRings,
)
from cryoloom.algorithms.ctf.shared_properties import strength_basis
from cryoloom.algorithms.ctf.tilt_rings import RIDGE, Evidence, RingLikelihood
from cryoloom.algorithms.images.single_thread_pool import of_each

__all__ = ["JointFit", "refine_jointly"]

MAX_MOVE_ANGSTROM, MAX_MOVE_DEG = 300.0, 15.0  # chosen: of a step, in which rings keep their order
SMALL_MOVE_ANGSTROM, SMALL_MOVE_DEG = 1.0, 0.05  # the errors left in exact spectra are of this size: the end
# Of the strength with dose and path, before they are measured, over the largest strength.
CHANGE_SD = 0.5

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class JointFit:
    """Result of `refine_jointly`, in the order of the tilts given."""

    model: SeriesModel
    """As given, with the ring amplitude and the common astigmatism updated."""
    defocus_angstrom: Array
    phase_shift_deg: Array
    defocus_sd_angstrom: Array
    """Everything else free, priors included."""
    phase_covariance: Array
    """Covariance of the phase shifts, ``(tilt, tilt)``; zero where they are fixed."""
    data_sd_angstrom: Array
    """Standard deviation of the defocus from the tilt alone, with a free background."""


def refine_jointly(
    tilts: Sequence[TiltRings],
    model: SeriesModel,
    fits: Sequence[DefocusFit],
    defocus_covariance: Array,
    phase_covariance: Array | None = None,
    n_iterations: int = 8,
) -> JointFit:
    """Refine from the fits' defoci and the tilts' phase shifts; these are fixed without a covariance.

    Astigmatism moves by the same in all tilts. defocus_covariance, phase_covariance : (tilt,
    tilt) of the priors, about any common level.
    """
    basis = strength_basis(tilts[0].data.band)
    # Curves of the strength, and of its changes.
    bases = [np.hstack([basis, *(term * basis for term in model.strength_terms(tilt))]) for tilt in tilts]
    weighed = _weighed(tilts, model, fits, basis)
    n, n_curves = len(tilts), bases[0].shape[1]
    n_all = 2 * n + 2 + n_curves
    # Defoci, then phase shifts, the move of the astigmatism and the strength's coefficients.
    shared = range(2 * n, 2 * n + 2)
    places = [[i, *shared, n + i, *range(2 * n + 2, n_all)] for i in range(n)]
    precision = np.zeros((n_all, n_all))
    precision[shared, shared] = ASTIGMATISM_SD_ANGSTROM**-2.0
    precision[:n, :n] = np.linalg.inv(defocus_covariance)
    if phase_covariance is not None:
        precision[n : 2 * n, n : 2 * n] = np.linalg.inv(phase_covariance)
    free = np.ones(n_all, dtype=bool)
    free[n : 2 * n] = phase_covariance is not None
    counts = [n, n, 2, n_curves]
    limits = np.repeat([MAX_MOVE_ANGSTROM, MAX_MOVE_DEG, MAX_MOVE_ANGSTROM, np.inf], counts)
    small = np.repeat([SMALL_MOVE_ANGSTROM, SMALL_MOVE_DEG, SMALL_MOVE_ANGSTROM, np.inf], counts)
    own = np.array([[0.0, fit.axial_angstrom, fit.diagonal_angstrom, 0.0] for fit in fits])

    def evaluate(x: Array) -> tuple[float, list[Evidence]]:
        found = [
            one.evidence(own[i] + x[places[i][:4]], x[2 * n + 2 :], bases[i]) for i, one in enumerate(weighed)
        ]
        return sum(one.gain for one in found) - 0.5 * float(x @ precision @ x), found

    curves = np.stack([model.spectrum, *_change(model)])
    coefficients = np.linalg.lstsq(basis, curves.T, rcond=None)[0].T
    changes = range(2 * n + 2 + basis.shape[1], n_all)
    precision[changes, changes] = (CHANGE_SD * np.abs(coefficients[0]).max()) ** -2.0
    x = np.concatenate(
        [
            [fit.defocus_angstrom for fit in fits],
            [tilt.data.phase_shift_deg for tilt in tilts],
            [0.0, 0.0],
            coefficients.ravel(),
        ]
    )
    posterior, evidence = evaluate(x)
    for _ in range(n_iterations):
        system, gradient = precision.copy(), -precision @ x
        for place, one in zip(places, evidence, strict=True):
            system[np.ix_(place, place)] += one.information
            gradient[place] += one.gradient
        strengths = range(2 * n + 2, n_all)
        system[strengths, strengths] += RIDGE * system.diagonal()[2 * n + 2 :].mean()
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
    strength, *change = x[2 * n + 2 :].reshape(3, -1) @ basis.T
    axial, diagonal = model.astigmatism_angstrom
    moved = (float(axial + x[2 * n]), float(diagonal + x[2 * n + 1]))
    return JointFit(
        replace(
            model,
            spectrum=np.clip(strength, 0.0, STRONGEST_RINGS),
            strength_change=np.array(change),
            astigmatism_angstrom=moved,
        ),
        x[:n],
        x[n : 2 * n],
        sd[:n],
        covariance[n : 2 * n, n : 2 * n],
        np.array(alone),
    )


def _weighed(
    tilts: Sequence[TiltRings], model: SeriesModel, fits: Sequence[DefocusFit], basis: Array
) -> list[RingLikelihood]:
    """Tilts whose ring weights include the scatter of amplitudes there: half their own, half of all."""

    def of_tilt(i: int) -> tuple[RingLikelihood, Array]:
        tilt, fit = tilts[i], fits[i]
        one = RingLikelihood(tilt, model, fit.defocus_angstrom)
        gathered = one.in_all_directions(fit.axial_angstrom, fit.diagonal_angstrom)
        at = np.array([fit.defocus_angstrom, 0.0, 0.0, tilt.data.phase_shift_deg])
        return one, gathered.noise(at, model.strength(tilt), basis)

    found, noise = zip(*of_each(of_tilt, range(len(tilts))), strict=True)
    shared = np.mean(noise, axis=0)
    return [one.with_noise(0.5 * (own + shared)) for one, own in zip(found, noise, strict=True)]


def _change(model: SeriesModel) -> Array:
    """Changes of the strength, ``(2, ring)``."""
    return np.zeros((2, len(model.spectrum))) if model.strength_change is None else model.strength_change
