"""Defocus, amplitude and B-factor of every tilt, from how well the particles fit their average.

Defocus: the log-likelihood of all particles is sampled at several changes of the defocus and interpolated.
A change common to all tilts is found first; each tilt may deviate from it within a prior.

Amplitude and B-factor: a tilt's images hold ``a exp(-B k^2 / 4)`` of what is expected of them. With cross
terms c and quadratic terms q by shells the log-likelihood is ``sum a m c - 1/2 a^2 m^2 q``, where m is the
fall with B, so the best a is known for each B.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

__all__ = [
    "DefocusModel",
    "EnvelopeModel",
    "defocus_changes",
    "defocus_offsets",
    "envelope_values",
    "envelopes",
    "fitted_to_others",
    "values_at_defocus",
]

Array = NDArray[np.float64]
DefocusModel = Literal["none", "series", "tilt"]
EnvelopeModel = Literal["none", "amplitude", "amplitude and B-factor"]

_COMMON_SD_ANGSTROM, _TILT_SD_ANGSTROM, _FINE_ANGSTROM = 1500.0, 400.0, 5.0
"""Chosen: prior of the defocus error of a series and of a tilt; step."""
_AMPLITUDE_SD, _LEAST_AMPLITUDE, _LARGEST_AMPLITUDE = 0.3, 0.05, 3.0  # chosen: prior about 1, and bounds
_B_SD_ANGSTROM2 = 150.0  # chosen: prior of the B-factor of a tilt
_B_TRIED_ANGSTROM2 = np.arange(0.0, 405.0, 5.0)
"""Chosen: RELION's weights have 4 A^2 for each e/A^2, so that the end is reached at 100 e/A^2."""


def defocus_offsets(wavelength_angstrom: float, finest_angstrom: float, most_angstrom: float) -> Array:
    """Changes of the defocus to be tried: near enough for interpolation at a resolution, odd in number."""
    # A change d turns the phase of the CTF by pi lambda d k^2; 1 rad is a sixth of its period.
    step = finest_angstrom**2 / (np.pi * wavelength_angstrom)
    n = int(np.clip(np.ceil(most_angstrom / step), 2, 6))
    return np.linspace(-most_angstrom, most_angstrom, 2 * n + 1)


def defocus_changes(values: Array, offsets: Array, model: DefocusModel) -> Array:
    """Most probable change of each tilt's defocus in angstrom, ``(tilt,)``.

    values : log-likelihood by offset and tilt ``(offset, tilt)``. model : one change for the series, or one
    for each tilt about it.
    """
    n_tilts = values.shape[1]
    if model == "none":
        return np.zeros(n_tilts)
    fine = np.arange(offsets[0], offsets[-1] + 0.5 * _FINE_ANGSTROM, _FINE_ANGSTROM)
    curves = CubicSpline(offsets, values, axis=0)(fine)
    common = fine[np.argmax(curves.sum(axis=1) - 0.5 * (fine / _COMMON_SD_ANGSTROM) ** 2)]
    if model == "series":
        return np.full(n_tilts, common)
    prior = 0.5 * ((fine - common) / _TILT_SD_ANGSTROM) ** 2
    return np.asarray(fine[np.argmax(curves - prior[:, None], axis=0)])


def values_at_defocus(values: Array, offsets: Array, changes: Array) -> Array:
    """Log-likelihood of particles, summed over tilts, at each tilt's change: ``(n,)``.

    values : (offset, n, tilt). changes : (tilt,).
    """
    shares = CubicSpline(offsets, np.eye(len(offsets)), axis=0)(changes)
    return np.asarray(np.einsum("ont,to->n", values, shares, optimize=True))


def envelopes(terms: Array, squared_per_angstrom2: Array, model: EnvelopeModel) -> tuple[Array, Array]:
    """Amplitude and B-factor of each tilt, ``(tilt,)`` each, relative to the expected ones.

    terms : cross and quadratic terms by tilt and shell ``(tilt, shell, 2)``. squared_per_angstrom2 :
    squared frequency of the shells.
    """
    n_tilts = len(terms)
    if model == "none":
        return np.ones(n_tilts), np.zeros(n_tilts)
    tried = _B_TRIED_ANGSTROM2 if model == "amplitude and B-factor" else np.zeros(1)
    fall = np.exp(-tried[:, None] * squared_per_angstrom2 / 4.0)
    cross = terms[..., 0] @ fall.T
    quadratic = terms[..., 1] @ (fall**2).T
    precision = _AMPLITUDE_SD**-2
    amplitude = (cross + precision) / (quadratic + precision)
    amplitude = np.clip(amplitude, _LEAST_AMPLITUDE, _LARGEST_AMPLITUDE)
    posterior = (
        amplitude * cross
        - 0.5 * amplitude**2 * quadratic
        - 0.5 * precision * (amplitude - 1.0) ** 2
        - 0.5 * (tried / _B_SD_ANGSTROM2) ** 2
    )
    best = posterior.argmax(axis=1)
    return amplitude[np.arange(n_tilts), best], tried[best]


def envelope_values(
    terms: Array, squared_per_angstrom2: Array, amplitude: Array, b_factor_angstrom2: Array
) -> Array:
    """Log-likelihood of particles with envelopes of the tilts, ``(n,)``; terms (n, tilt, shell, 2)."""
    fall = amplitude[:, None] * np.exp(-b_factor_angstrom2[:, None] * squared_per_angstrom2 / 4.0)
    return np.asarray((terms[..., 0] * fall - 0.5 * terms[..., 1] * fall**2).sum(axis=(1, 2)))


def fitted_to_others(
    folds: NDArray[np.int64],
    fit: Callable[[NDArray[np.int64]], Array],
    value: Callable[[NDArray[np.int64], Array], Array],
) -> Array:
    """Values of all particles, each with what was fitted to the other folds' particles, ``(n,)``.

    fit : what is fitted to some particles. value : values of some particles with it.
    """
    values = np.zeros(len(folds))
    for fold in np.unique(folds):
        out, rest = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        values[out] = value(out, fit(rest))
    return values
