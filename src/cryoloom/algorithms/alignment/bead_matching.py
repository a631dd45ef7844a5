"""Assignment of beads to the candidates of a view, with the view's offset.

The one that explains most candidates. A bead whose height is not known yet lies anywhere on a line across the
tilt axis. Gold on both surfaces of the ice moves apart on these lines from tilt to tilt. If every bead were
searched at its mean height, one view would be placed by the beads of one surface and lose those of the other,
and the next view might do the opposite. The series would have two consistent halves without a common bead.
Therefore every prediction has a covariance, a view is placed by the offset with the largest likelihood of all
beads together, and no candidate is two beads (assignment; Kuhn, Nav. Res. Logist. Q. 2, 83 (1955)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

__all__ = ["PredictedBeads", "place_view"]

Array = NDArray[np.float64]

#: Chosen: largest error of a beginning that is corrected. A longer reach admits more offsets by chance.
REACH_ANGSTROM = 400.0
#: Chosen: assumed fraction of the beads in a field that are among its candidates.
DETECTED = 0.8
#: Chosen: distance of a candidate from the prediction, in standard deviations, up to which it can be the
#: bead; 99 % of the beads are within 3.
GATE = 3.0
#: Chosen: loss of log likelihood for a bead in the field that is not found. It is small because images are
#: noisy and beads can be hidden.
MISSED = 0.5
#: Chosen: loss of log likelihood at the reach; less than one bead brings, so it only decides between equals.
DISTANCE_PENALTY = 1.5
#: Chosen: predictions and candidates that give hypotheses of the offset; they bound the time.
MOST_VOTERS, MOST_VOTED = 30, 50
#: Chosen: hypotheses nearer than this are one; less than the deviation of a position while tracks grow, 15 A.
APART_ANGSTROM = 10.0
#: Chosen: number of hypotheses that are refined; it bounds the time.
MOST_REFINED = 4
N_REFINEMENTS = 2
"""Chosen: of an offset by the beads it assigns; right to 3 A on 56 drawn sets of points."""
#: Matches that confirm an offset: any single candidate gives an offset of its own.
FEWEST_MATCHES = 2


@dataclass(frozen=True, slots=True)
class PredictedBeads:
    """Beads as a view should show them.

    position_xy_angstrom : ``(n, 2)``. covariance : ``(n, 2, 2)``, in square angstrom. votes : ``(n,)``,
    whether a bead has been seen often enough to place the view.
    """

    position_xy_angstrom: Array
    covariance_angstrom2: Array
    votes: NDArray[np.bool_]

    def select(self, keep: NDArray[np.bool_] | NDArray[np.int64] | slice) -> PredictedBeads:
        """Only some of the beads."""
        return PredictedBeads(
            self.position_xy_angstrom[keep], self.covariance_angstrom2[keep], self.votes[keep]
        )


def place_view(
    predicted: PredictedBeads, candidates: Array, beginnings: Array, field_xy_angstrom: Array
) -> tuple[Array, NDArray[np.int64]]:
    """Offset of a view ``(2,)`` by its candidates, and the candidate of each prediction (-1 for none).

    candidates : ``(m, 2)``, the strongest first, from the centre of a field of that extent. beginnings :
    ``(k, 2)``, offsets about which to look; the first is kept if two beads confirm none.
    """
    n = len(predicted.position_xy_angstrom)
    if n == 0 or len(candidates) == 0:
        return beginnings[0], np.full(n, -1, dtype=np.int64)
    density = len(candidates) / float(np.prod(field_xy_angstrom))
    voters = predicted.select(predicted.votes)
    best, most = beginnings[0], -np.inf
    for offset in _hypotheses(voters, candidates, beginnings, field_xy_angstrom):
        for _ in range(N_REFINEMENTS):
            gains = _gains(voters, candidates, offset[None], density)[0]
            matched = _assigned(gains)
            seen = np.flatnonzero(matched >= 0)
            if len(seen) < FEWEST_MATCHES:
                break
            missed = _in_field(voters, offset[None], field_xy_angstrom)[0] & (matched < 0)
            total = gains[seen, matched[seen]].sum() - MISSED * missed.sum()
            total -= _penalty(offset[None], beginnings)[0]
            if total > most:
                best, most = offset, total
            offset = _weighted_offset(voters.select(seen), candidates[matched[seen]])
    return best, _assigned(_gains(predicted, candidates, best[None], density)[0])


def _hypotheses(
    voters: PredictedBeads, candidates: Array, beginnings: Array, field_xy_angstrom: Array
) -> Array:
    """The most likely ones of the offsets that bring a prediction onto a candidate, ``(k, 2)``."""
    density = len(candidates) / float(np.prod(field_xy_angstrom))
    voters, candidates = voters.select(slice(MOST_VOTERS)), candidates[:MOST_VOTED]
    differences = (candidates[None] - voters.position_xy_angstrom[:, None]).reshape(-1, 2)
    away = np.linalg.norm(differences[:, None] - beginnings, axis=2).min(axis=1)
    offsets = np.concatenate([beginnings, differences[away < REACH_ANGSTROM]])
    first = np.unique(np.rint(offsets / APART_ANGSTROM), axis=0, return_index=True)[1]
    offsets = offsets[np.sort(first)]
    gains = _gains(voters, candidates, offsets, density).max(axis=2)
    missed = _in_field(voters, offsets, field_xy_angstrom) & (gains == 0)
    likely = gains.sum(axis=1) - MISSED * missed.sum(axis=1) - _penalty(offsets, beginnings)
    return offsets[np.argsort(-likely, kind="stable")[:MOST_REFINED]]


def _in_field(predicted: PredictedBeads, offsets: Array, field_xy_angstrom: Array) -> NDArray[np.bool_]:
    """Whether each bead lies in the field at each offset, ``(k, n)``."""
    places = predicted.position_xy_angstrom + offsets[:, None]
    return np.asarray((np.abs(places) < field_xy_angstrom / 2).all(axis=2))


def _penalty(offsets: Array, beginnings: Array) -> Array:
    """Log likelihood of each offset, by its distance from the nearest start."""
    away = np.linalg.norm(offsets[:, None] - beginnings, axis=2).min(axis=1)
    return np.asarray(DISTANCE_PENALTY * away / REACH_ANGSTROM)


def _gains(predicted: PredictedBeads, candidates: Array, offsets: Array, density: float) -> Array:
    """Log likelihood ``(k, n, m)`` of candidates as beads over that as chance maxima; not below 0."""
    (xx, xy), (_, yy) = np.moveaxis(predicted.covariance_angstrom2, 0, -1)[..., None]
    determinant = xx * yy - xy**2
    x, y = np.moveaxis(candidates - predicted.position_xy_angstrom[:, None] - offsets[:, None, None], -1, 0)
    squared = (yy * x**2 - 2 * xy * x * y + xx * y**2) / determinant
    chance = density * 2 * np.pi * np.sqrt(determinant) / DETECTED
    gains = np.maximum(-np.log(chance) - squared / 2, 0.0)
    return np.where(squared < GATE**2, gains, 0.0)


def _assigned(gains: Array) -> NDArray[np.int64]:
    """Candidate of each bead ``(n,)`` with the largest total gain, -1 where there is no gain."""
    beads, found = linear_sum_assignment(gains, maximize=True)
    matched = np.full(len(gains), -1, dtype=np.int64)
    good = gains[beads, found] > 0
    matched[beads[good]] = found[good]
    return matched


def _weighted_offset(predicted: PredictedBeads, places: Array) -> Array:
    """Offset that brings beads onto their places, by least squares with the inverse covariances."""
    weights = np.linalg.inv(predicted.covariance_angstrom2)
    right = np.einsum("nab,nb->a", weights, places - predicted.position_xy_angstrom)
    return np.linalg.solve(weights.sum(axis=0), right)
