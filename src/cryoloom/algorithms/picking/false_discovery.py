"""Estimate of the false picks: targets compete with decoys at every position.

Without a particle, the template is the best of itself and K decoys once in K + 1. So the number of positions
that a decoy wins above a margin estimates how many of the template's wins are false. Adding one keeps the
false discovery rate also for few picks: Barber & Candes, Ann. Stat. 43 (2015); several decoys: Gimenez & Zou,
AISTATS 2019; in proteomics Elias & Gygi, Nat. Methods 4 (2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Competition", "compete"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Competition:
    """Outcome at each place, ``(n,)``."""

    margin: Array
    """The best evidence less the second best, in the unit of the evidence."""
    is_target: NDArray[np.bool_]
    """Whether the template won."""
    q_value: Array
    """Smallest false discovery rate at which the position is picked; 1 if a decoy won."""


def compete(evidence: Array) -> Competition:
    """Let the template and its decoys compete.

    evidence : (1 + n_decoys, n); the first row is the template's, higher is better.
    """
    n_decoys, n = len(evidence) - 1, evidence.shape[1]
    if n_decoys < 1:
        raise ValueError(
            f"expected the template's evidence and at least one decoy's, got {len(evidence)} rows"
        )
    ordered = np.sort(evidence, axis=0)
    margin = ordered[-1] - ordered[-2]
    is_target = np.argmax(evidence, axis=0) == 0
    order = np.argsort(-margin, kind="stable")
    targets = np.cumsum(is_target[order])
    decoys = np.cumsum(~is_target[order])
    rate = (1 + decoys) / n_decoys / np.maximum(targets, 1)
    smallest = np.minimum.accumulate(rate[::-1])[::-1]
    q_value = np.ones(n)
    q_value[order] = np.minimum(smallest, 1.0)
    return Competition(margin, is_target, np.where(is_target, q_value, 1.0))
