"""Estimate of the false picks: targets compete with decoys at every position.

Without a particle, the template is the best of itself and K decoys once in K + 1. So the number of positions
that a decoy wins above a margin estimates how many of the template's wins are false. Adding one keeps the
false discovery rate also for few picks: Barber & Candes, Ann. Stat. 43 (2015); several decoys: Gimenez & Zou,
AISTATS 2019; in proteomics Elias & Gygi, Nat. Methods 4 (2007).

Positions of one other protein are not independent: one of the templates fits it best at all of them, and that
may be the right one. So the template must win again from many further decoys (`confirm`), two in three of
them shaped like bodies of matter. That also lets a few particles be picked: a position at which the template
beats 23 decoys is false once in 24.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_MARGIN_NATS", "Competition", "compete", "confirm"]

Array = NDArray[np.float64]

LEAST_MARGIN_NATS = 3.0
"""The template must be 20 times likelier than every decoy. Beside many clear wins the rate leaves room for
others that are chance, and of few places the clearest is won by chance once in 24 scenes."""


@dataclass(frozen=True, slots=True)
class Competition:
    """Outcome at each place, ``(n,)``."""

    margin: Array
    """The best evidence less the second best, in nats."""
    is_target: NDArray[np.bool_]
    """Whether the template won."""
    q_value: Array
    """Smallest false discovery rate at which the position is picked; 1 if a decoy won, or nearly did."""


def compete(evidence: Array) -> Competition:
    """Let the template and its decoys compete.

    evidence : (1 + n_decoys, n); the first row is the template's, higher is better.
    """
    n_decoys = len(evidence) - 1
    if n_decoys < 1:
        raise ValueError(
            f"expected the template's evidence and at least one decoy's, got {len(evidence)} rows"
        )
    ordered = np.sort(evidence, axis=0)
    margin = ordered[-1] - ordered[-2]
    is_target = np.argmax(evidence, axis=0) == 0
    return Competition(margin, is_target, _q_values(margin, is_target, n_decoys))


def confirm(first: Array, further: Array, *, all_places: bool) -> Competition:
    """Let the template win again, from further decoys.

    first : (1 + n_decoys, n) evidence as of `compete`, at the places that are looked at again. further :
    (n_further, n) evidence of further decoys. all_places : whether these are all places; otherwise they are
    those that the template has won, and of chance it wins ``(1 + n_decoys) / (1 + n_decoys + n_further)``
    again.
    """
    everyone = np.concatenate([first, further])
    if all_places:
        return compete(everyone)
    ordered = np.sort(everyone, axis=0)
    margin = ordered[-1] - ordered[-2]
    is_target = np.argmax(everyone, axis=0) == 0
    losses_per_win = len(further) / len(first)
    return Competition(margin, is_target, _q_values(margin, is_target, losses_per_win))


def _q_values(margin: Array, is_target: NDArray[np.bool_], losses_per_win: float) -> Array:
    """Smallest false discovery rate at which each place is picked.

    losses_per_win : how often decoys win by chance for each time that the template does.
    """
    order = np.argsort(-margin, kind="stable")
    targets, decoys = np.cumsum(is_target[order]), np.cumsum(~is_target[order])
    rate = (1 + decoys) / losses_per_win / np.maximum(targets, 1)
    smallest = np.minimum.accumulate(rate[::-1])[::-1]
    q_value = np.ones(len(margin))
    q_value[order] = np.minimum(smallest, 1.0)
    return np.where(is_target & (margin >= LEAST_MARGIN_NATS), q_value, 1.0)
