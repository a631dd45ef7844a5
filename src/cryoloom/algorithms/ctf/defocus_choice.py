"""Defocus of every tilt from the gains along the whole range, all tilts together.

Weak rings fit at many defoci, and the best of them is often false, but all tilts of a series together are
clear. Each tilt's gains are its likelihood, and the defoci are a smooth curve in time and in tilt with
jitter: a Gaussian process whose likelihoods are not Gaussian. They are approximated by Gaussian ones, each
beside what the other tilts predict (expectation propagation; Minka 2001, Rasmussen & Williams 2006, section
3.6). One tilt in fifty may lie anywhere. The variation of the defocus is the one that makes each tilt most
likely given the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.defocus_prior import smooth_covariance
from cryoloom.algorithms.ctf.series_model import TiltRings

__all__ = ["NEAR_ANGSTROM", "ChosenDefoci", "choose_defoci"]

Array = NDArray[np.float64]

NEAR_ANGSTROM = 1000.0
"""Chosen: defoci that differ by less count as the same.

It is a part of a ring at the resolution of most fits.
"""
LEAST_PROBABILITY = 0.9  # chosen: of a defocus within its neighbourhood, to be decided
ANYWHERE = 0.02
"""Chosen: prior probability that a tilt lies anywhere in the range, independent of its neighbours."""
JITTERS_ANGSTROM = (150.0, 300.0, 600.0, 1200.0, 2400.0)
"""Doubled from a good stage to a poor one; the likelihood chooses."""
SMOOTH_PARTS = (0.15, 0.5, 1.0)
"""Fractions of the usual variation of the curve."""
FIRST_SD_ANGSTROM = 2500.0
"""Chosen: of a tilt from its neighbours before anything is known, as the largest jitter."""
N_ROUNDS, DAMPING = 12, 0.7  # chosen: of expectation propagation, which swings without damping


@dataclass(frozen=True, slots=True)
class ChosenDefoci:
    """Result of `choose_defoci`, ``(tilt,)`` in angstrom."""

    defocus_angstrom: Array
    """The likeliest."""
    mean_angstrom: Array
    sd_angstrom: Array
    """Standard deviation of a tilt's defocus, given its own gains and the other tilts.

    About the likeliest value if that is decided, else about the prediction of the others.
    """
    prior_angstrom: Array
    prior_sd_angstrom: Array
    """Prediction of the other tilts."""
    jitter_angstrom: float
    smooth_part: float
    """Fraction of the usual variation of the curve."""
    is_decided: NDArray[np.bool_]
    """Whether nearly all probability lies about the likeliest defocus."""
    evidence: float
    """Log-likelihood over no rings, each tilt beside the others, in nats."""


def choose_defoci(
    tilts: Sequence[TiltRings], gains: Array, grid: Array, centre_angstrom: float
) -> ChosenDefoci:
    """From gains ``(tilt, grid)`` over no rings, in nats, at defoci ``grid`` in equal steps.

    centre_angstrom : defocus about which most tilts show rings, to begin with.
    """
    found = [
        _with_variation(tilts, gains, grid, centre_angstrom, part, jitter)
        for part in SMOOTH_PARTS
        for jitter in JITTERS_ANGSTROM
    ]
    return max(found, key=lambda one: one.evidence)


def _with_variation(
    tilts: Sequence[TiltRings], gains: Array, grid: Array, centre: float, part: float, jitter: float
) -> ChosenDefoci:
    n = len(tilts)
    covariance = smooth_covariance(tilts, part) + jitter**2 * np.eye(n)
    inverse = np.linalg.inv(covariance)
    places = grid - centre
    precision, shift = np.zeros(n), np.zeros(n)  # of the Gaussian likelihoods, the mean times it
    prior, variance = np.zeros(n), np.full(n, FIRST_SD_ANGSTROM**2)
    for _ in range(N_ROUNDS):
        mean, spread = _moments(_log_probability(gains, places, prior, variance), places)
        new = np.maximum(1.0 / spread - 1.0 / variance, 0.0)
        pull = np.where(new > 0, mean / spread - prior / variance, 0.0)
        precision += DAMPING * (new - precision)
        shift += DAMPING * (pull - shift)
        together = np.linalg.inv(inverse + np.diag(precision))
        own = np.diag(together)
        variance = 1.0 / np.maximum(1.0 / own - precision, 1e-12)
        prior = variance * (together @ shift / own - shift)
    logs = _log_probability(gains, places, prior, variance)
    top = logs.max(axis=1, keepdims=True)
    probability = np.exp(logs - top)
    evidence = float((top[:, 0] + np.log(probability.sum(axis=1) * (grid[1] - grid[0]))).sum())
    probability /= probability.sum(axis=1, keepdims=True)
    best = places[np.argmax(logs, axis=1)]
    near = np.abs(places - best[:, None]) <= NEAR_ANGSTROM
    mean, spread = _moments(logs, places)
    # A decided tilt has its value near the likeliest one: probability elsewhere does not count as its error.
    decided = (probability * near).sum(axis=1) >= LEAST_PROBABILITY
    mean_near, spread_near = _moments(np.where(near, logs, -np.inf), places)
    spread = np.where(decided, spread_near, spread + (mean - prior) ** 2)
    mean = np.where(decided, mean_near, prior)
    return ChosenDefoci(
        best + centre,
        mean + centre,
        np.sqrt(spread),
        prior + centre,
        np.sqrt(variance),
        jitter,
        part,
        decided,
        evidence,
    )


def _log_probability(gains: Array, places: Array, prior: Array, variance: Array) -> Array:
    """Of every place of every tilt, ``(tilt, grid)``: its gains, and the others' prediction or anywhere."""
    near = np.exp(-0.5 * (places - prior[:, None]) ** 2 / variance[:, None])
    near /= np.sqrt(2 * np.pi * variance[:, None])
    return np.asarray(gains + np.log((1 - ANYWHERE) * near + ANYWHERE / (places[-1] - places[0])))


def _moments(logs: Array, places: Array) -> tuple[Array, Array]:
    """Mean and variance of each tilt's probability, ``(tilt,)``; a step of the grid is not resolved."""
    probability = np.exp(logs - logs.max(axis=1, keepdims=True))
    probability /= probability.sum(axis=1, keepdims=True)
    mean = probability @ places
    spread = (probability * (places - mean[:, None]) ** 2).sum(axis=1)
    return mean, spread + (places[1] - places[0]) ** 2 / 12
