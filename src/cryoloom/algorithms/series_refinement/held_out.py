"""Whether a change helps particles that it was not fitted to: the decision about every group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Decision", "decide", "folds_of"]

Array = NDArray[np.float64]

_LEAST_DEVIATIONS = 2.5
"""Chosen: gain of left-out particles over its error; noise alone then changes nothing in the tests."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Gain in log-likelihood of held-out particles, summed, and its standard deviation."""

    group: str
    gain_nats: float
    deviation_nats: float
    accepted: bool

    def row(self) -> dict[str, str | float]:
        """For a table."""
        return {
            "group": self.group,
            "held_out_gain_nats": round(self.gain_nats, 2),
            "standard_deviation_nats": round(self.deviation_nats, 2),
            "decision": "used" if self.accepted else "not used",
        }


def decide(group: str, before: Array, after: Array) -> Decision:
    """Accept a group if the particles' gains ``after - before`` ``(n,)`` are above 0 beyond chance.

    The standard deviation of the sum follows from the scatter among the particles; 2.5 of them are required,
    because several groups are tried.
    """
    gains = after - before
    total = float(gains.sum())
    deviation = float(np.sqrt(len(gains)) * gains.std(ddof=1)) if len(gains) > 1 else np.inf
    return Decision(group, total, deviation, total > _LEAST_DEVIATIONS * deviation)


def folds_of(half: NDArray[np.int64], n_folds: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Fold of every particle, ``(n,)``, at random, with as many of each half in each as possible."""
    folds = np.zeros(len(half), np.int64)
    for one in np.unique(half):
        mine = rng.permutation(np.flatnonzero(half == one))
        folds[mine] = np.arange(len(mine)) % n_folds
    return folds
