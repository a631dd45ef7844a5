"""The rings of one tilt with a free background; all tiles combined into one spectrum per direction.

The phase of the rings is linear in defocus: the height of a tile rotates each of its rings by a known angle.
Rotated back and summed, ``sum_tiles power exp(i angle)``, the tiles are one complex spectrum, from which
follows the likelihood of any defocus, phase shift, astigmatism and amplitude, and the best background for
these (variable projection; Golub and Pereyra, SIAM J. Numer. Anal. 10, 1973).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from cryoloom.algorithms.ctf.defocus_fit import DefocusFit, background_basis, tile_offsets
from cryoloom.algorithms.ctf.phase import ctf_phase
from cryoloom.algorithms.ctf.series_model import STRONGEST_RINGS, SeriesModel, TiltRings, at_origin
from cryoloom.algorithms.images.single_thread_pool import of_each

__all__ = ["RIDGE", "Evidence", "RingLikelihood", "noise_of_series", "own_gain"]

#: Chosen: relative to the mean curvature, so that curves without information stay at their start.
RIDGE = 1e-6
#: Chosen: largest modulation of one tilt over the modulation expected from the series.
MOST_STRENGTH = 3.0
MEDIAN_OF_SQUARE = 0.455
"""Median of the square of a normal variable of variance 1."""
#: Chosen: defoci over the found one at which there are no rings; the spread of their strengths is that of
#: noise.
ELSEWHERE = np.concatenate([np.linspace(0.5, 0.85, 8), np.linspace(1.15, 2.0, 18)])
# The same, nearer.
NEAR_BY = np.concatenate([np.linspace(0.6, 0.86, 12), np.linspace(1.16, 1.67, 24)])

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Information of one tilt on its parameters, with a free background."""

    gain: float
    gradient: Array
    information: Array


@dataclass(frozen=True, slots=True)
class _Sums:
    """Weighted sums over tiles, ``(sector, ring)``, of products of power, cosine and sine of the phase.

    The power is that over the background as it was.
    """

    one: Array
    c: Array
    s: Array
    cc: Array
    ss: Array
    cs: Array
    p: Array
    pc: Array
    ps: Array


class RingLikelihood:
    """Likelihood of the rings of one tilt, its template that of a defocus near by."""

    N_PHASE = 4
    """Parameters of the rings' phase: defocus, its cos 2 angle and sin 2 angle parts, all in angstrom, and
    the phase shift in degrees."""

    def __init__(self, tilt: TiltRings, model: SeriesModel, defocus_angstrom: float) -> None:
        self.data = data = at_origin(tilt)
        alike = replace(model, spectrum=np.ones(data.band.n_rings), strength_change=None)
        unit = alike.template(tilt, defocus_angstrom)
        self.kept = _array(unit.modulation)
        self.background = background_basis(data.band).T
        self.directions = _array(data.astigmatism_basis)
        self.per_angstrom = _array(data.phase_per_angstrom)
        angle = tile_offsets(data, model.slope(tilt), 0.0, 0.0)[:, :1] * data.phase_per_angstrom
        power, weight = 1 + data.residual, _array(data.weight * unit.precision)
        cosine, sine = torch.cos(angle), torch.sin(angle)
        self.one = weight * len(power)
        self.once = weight * _sum(cosine, sine)
        self.twice = weight * _sum(cosine.square() - sine.square(), 2 * cosine * sine)
        self.power = weight * _array(power.sum(dim=0))
        self.power_turned = weight * _sum(power * cosine[:, None], power * sine[:, None])

    def in_all_directions(self, axial_angstrom: float, diagonal_angstrom: float) -> RingLikelihood:
        """As above with a fixed astigmatism; directions are combined too, which is much faster."""
        of_sector = np.array([axial_angstrom, diagonal_angstrom]) @ self.directions
        turn = np.exp(1j * of_sector[:, None] * self.per_angstrom)
        gathered = copy(self)
        gathered.directions = np.zeros((2, 1))
        for name, times in (("one", 0), ("once", 1), ("twice", 2), ("power", 0), ("power_turned", 1)):
            setattr(gathered, name, (getattr(self, name) * turn**times).sum(axis=0, keepdims=True))
        gathered.one, gathered.power = gathered.one.real, gathered.power.real
        return gathered

    def own_gain(self, at: Array, strength: Array) -> tuple[float, float]:
        """See `own_gain`; ``at`` the parameters of the phase, ``strength`` as the series predicts it."""
        sums = self._sums(at)

        def gain(times: float) -> float:
            return self._best_level(sums, np.clip(times * strength, 0.0, STRONGEST_RINGS))[0]

        best = minimize_scalar(
            lambda times: -gain(times), bounds=(0.0, MOST_STRENGTH), method="bounded", options={"xatol": 0.01}
        )
        scores, information = self.elsewhere(
            at, np.clip(best.x * strength, 0.0, STRONGEST_RINGS), strength[None]
        )
        noise = float((scores**2 / np.maximum(information, 1e-12)).mean())
        return max(0.0, -float(best.fun) - gain(0.0)) / max(1.0, noise), max(1.0, noise)

    def noise(self, at: Array, strength: Array, basis: Array) -> Array:
        """Variance of the rings over that of counts, ``(ring,)``, one at least; ``basis`` as for `evidence`.

        Tiles with the same kind of specimen share the bumps of its spectrum, which do not appear in their
        scatter about each other; ring amplitudes at other defoci include them.
        """
        scores, information = self.elsewhere(at, strength, basis.T)
        of_curve = (scores**2).sum(axis=0) / np.maximum(information.sum(axis=0), 1e-12)
        return np.maximum(basis @ of_curve, 1.0)

    def with_noise(self, noise: Array) -> RingLikelihood:
        """The same with rings of a larger variance, ``(ring,)`` over that of counts."""
        noisy = copy(self)
        for name in ("one", "once", "twice", "power", "power_turned"):
            setattr(noisy, name, getattr(self, name) / noise)
        return noisy

    def elsewhere(
        self, at: Array, found: Array, curves: Array, times_defocus: Array = ELSEWHERE
    ) -> tuple[Array, Array]:
        """Score and information, ``(defocus, curve)``, of weak rings at other defoci, without the fitted.

        times_defocus : these, over that of ``at``. found : (ring,) strength of the fitted. curves : (curve,
        ring) strengths looked for; the background is free.
        """
        here, n = self._phase(at), len(times_defocus)
        rings = self._best_level(self._sums(at), found)[1] * found
        defocus = times_defocus[:, None] * at[0] + at[1:3] @ self.directions
        phase = self._phase_of(defocus, float(at[3]))
        turn = np.exp(1j * phase)
        both = 0.5 * (self.one * np.cos(here - phase) + (self.twice * (np.exp(1j * here) * turn)).real)
        # The power is B (1 - s c): the part removed by the fitted rings is restored.
        own = rings * self.kept * (self.once * np.exp(1j * here)).real
        # Without rings the background and its curvature are the same wherever they are looked for.
        bare = replace(self._sums(at), p=self.power + own)
        _, level, curvature = self._best_level(bare, np.zeros_like(found))
        c = (self.kept * (self.once * turn).real).sum(axis=1)
        cc = (0.5 * self.kept**2 * (self.one + (self.twice * turn**2).real)).sum(axis=1)
        pc = (self.kept * (self.power_turned * turn).real + rings * self.kept**2 * both).sum(axis=1)
        weak = -curves * level
        coupling = ((weak * c[:, None, :]) @ self.background.T).reshape(n * len(curves), -1)
        taken = np.einsum("ij,ji->i", coupling, np.linalg.solve(curvature, coupling.T))
        return (pc - level * c) @ weak.T, cc @ (weak**2).T - taken.reshape(n, len(curves))

    def evidence(self, at: Array, coefficients: Array, basis: Array) -> Evidence:
        """At parameters of the phase ``(N_PHASE,)`` and a strength ``basis @ coefficients``, ``(ring,)``.

        The power, over the background as it was, is ``B (1 - s c)``: B the background anew, s the strength,
        c the cosine of the rings' phase.
        """
        s = np.clip(basis @ coefficients, 0.0, STRONGEST_RINGS)
        sums = self._sums(at)
        gain, level, curvature = self._best_level(sums, s)
        turned, stronger = self._rates() * s * level, -basis.T * level
        left_s = sums.ps - level * (sums.s - s * sums.cs)
        left_c = (sums.pc - level * (sums.c - s * sums.cc)).sum(axis=0)
        gradient = np.concatenate([np.einsum("ijk,jk->i", turned, left_s), stronger @ left_c])
        mixed = np.einsum("ijk,jk->ik", turned, sums.cs) @ stronger.T
        squares = np.block(
            [
                [np.tensordot(turned * sums.ss, turned, axes=([1, 2], [1, 2])), mixed],
                [mixed.T, (stronger * sums.cc.sum(axis=0)) @ stronger.T],
            ]
        )
        coupling = np.concatenate(
            [
                np.einsum("ijk,jk->ik", turned, sums.s - s * sums.cs),
                stronger * (sums.c - s * sums.cc).sum(axis=0),
            ]
        )
        coupling = coupling @ self.background.T
        return Evidence(gain, gradient, squares - coupling @ np.linalg.solve(curvature, coupling.T))

    def _best_level(self, sums: _Sums, s: Array) -> tuple[float, Array, Array]:
        """Log-likelihood of the best background, that background ``(ring,)``, and the curvature there."""
        bb = (sums.one - 2 * s * sums.c + s**2 * sums.cc).sum(axis=0)
        curvature = (self.background * bb) @ self.background.T
        curvature += RIDGE * curvature.diagonal().mean() * np.eye(len(curvature))
        seen = (sums.p - s * sums.pc).sum(axis=0)
        level = np.linalg.solve(curvature, self.background @ seen) @ self.background
        return float((level * seen - 0.5 * level**2 * bb).sum()), level, curvature

    def _rates(self) -> Array:
        """Derivatives of the rings' phase by its parameters, ``(N_PHASE, sector, ring)``."""
        of_defocus = np.concatenate([np.ones_like(self.directions[:1]), self.directions])
        of_shift = np.full((1, self.directions.shape[1], len(self.per_angstrom)), math.radians(2.0))
        return np.concatenate([of_defocus[..., None] * self.per_angstrom, of_shift])

    def _phase(self, at: Array) -> Array:
        """``2 chi``, ``(sector, ring)`` in radians."""
        return self._phase_of(at[0] + at[1:3] @ self.directions, float(at[3]))

    def _phase_of(self, defocus_angstrom: Array, phase_shift_deg: float) -> Array:
        """``2 chi``, ``(..., sector, ring)`` in radians, for the defocus of sectors ``(..., sector)``."""
        squared = self.data.band.squared_frequency
        return 2 * ctf_phase(squared, defocus_angstrom[..., None], self.data.microscope, phase_shift_deg)

    def _sums(self, at: Array) -> _Sums:
        turn = np.exp(1j * self._phase(at))
        once, twice, power = self.once * turn, self.twice * turn**2, self.power_turned * turn
        k, kk = self.kept, self.kept**2
        return _Sums(
            self.one,
            k * once.real,
            k * once.imag,
            0.5 * kk * (self.one + twice.real),
            0.5 * kk * (self.one - twice.real),
            0.5 * kk * twice.imag,
            self.power,
            k * power.real,
            k * power.imag,
        )


def own_gain(tilt: TiltRings, model: SeriesModel, fit: DefocusFit) -> tuple[float, float]:
    """Half the squared amplitude of a tilt's rings in standard deviations, and their variance.

    The first is 0 if the rings are reversed.

    In nats, log-likelihood over no rings: both with a free background, the rings with a free amplitude, since
    for a tilt with rings half as strong as those of its series fixed rings would be no more likely than none.
    The standard deviation is that of amplitudes at other defoci if it is larger than counting statistics:
    specimens make bumps in their spectra. The variance is over that of counting statistics, 1 at least.
    """
    rings = RingLikelihood(tilt, model, fit.defocus_angstrom)
    rings = rings.in_all_directions(fit.axial_angstrom, fit.diagonal_angstrom)
    at = np.array([fit.defocus_angstrom, 0.0, 0.0, tilt.data.phase_shift_deg])
    return rings.own_gain(at, model.spectrum)


def noise_of_series(
    tilts: Sequence[TiltRings], model: SeriesModel, defocus_angstrom: float, basis: Array
) -> Array:
    """Variance of the rings of all tilts together over that of counts, ``(ring,)``, at least one.

    A signal that images share but that does not depend on defocus, such as the form factor of their
    particles, adds up over the tilts as rings do. It shows at other defoci near the given one, of which a few
    may be that of the series: their median counts. basis : (ring, curve) smooth curves of the strength.
    """

    def of_tilt(tilt: TiltRings) -> tuple[Array, Array]:
        rings = RingLikelihood(tilt, model, defocus_angstrom).in_all_directions(*model.astigmatism_angstrom)
        at = np.array([defocus_angstrom, 0.0, 0.0, tilt.data.phase_shift_deg])
        return rings.elsewhere(at, np.zeros(len(basis)), basis.T, NEAR_BY)

    scores, information = (sum(parts) for parts in zip(*of_each(of_tilt, tilts), strict=True))
    ratio = scores**2 / np.maximum(information, 1e-12)
    return np.maximum(basis @ (np.median(ratio, axis=0) / MEDIAN_OF_SQUARE), 1.0)


def _array(values: torch.Tensor) -> Array:
    return np.asarray(values.double().cpu().numpy())


def _sum(real: torch.Tensor, imaginary: torch.Tensor) -> NDArray[np.complex128]:
    """Of tiles, as complex numbers."""
    return _array(real.sum(dim=0)) + 1j * _array(imaginary.sum(dim=0))
