"""Fit of a series whose rings are too weak for most single images: all tilts together, nothing refined.

A signal that the images share but that does not depend on defocus, such as the form factor of their
particles, would bias the defocus of such a series; frequencies with much of it get less weight. The amplitude
of the rings falls off as assumed. The defoci and their errors are those of `choose_defoci`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.defocus_choice import ChosenDefoci, choose_defoci
from cryoloom.algorithms.ctf.defocus_fit import SearchSums
from cryoloom.algorithms.ctf.defocus_prior import consensus
from cryoloom.algorithms.ctf.series_model import SeriesModel, TiltRings
from cryoloom.algorithms.ctf.shared_properties import strength_basis
from cryoloom.algorithms.ctf.tilt_rings import noise_of_series

__all__ = ["CERTAIN_EVIDENCE", "STRENGTH_SPREAD", "WeakSeries", "find_weak_rings", "weighed_by_noise"]

Array = NDArray[np.float64]
Search = Callable[[Sequence[TiltRings], Sequence[SeriesModel], Array], list[SearchSums]]

CERTAIN_EVIDENCE = 5.0
"""Chosen: nats for rings in all tilts together, odds of e^5. Where specimens show none it is below 0."""
STRENGTH_SPREAD = 0.5
"""Chosen: of the rings of a tilt over those that the series expects of it."""
STRENGTHS = (0.1, 0.05, 0.025, 0.0125)
"""The assumed strength is halved until rings are found: weaker rings than half of it lower the score."""
FALL_ANGSTROM2 = 100.0
"""Chosen: the amplitude is ``strength * exp(-fall k^2)``."""
RATIO_OF_RANGES = 1.3
"""Chosen: ratio of the last to the first defocus that are examined with the same noise."""
JITTER_REACH_ANGSTROM = 3000.0
"""Chosen: beyond a range, for tilts that deviate."""


@dataclass(frozen=True, slots=True)
class WeakSeries:
    """Result of `find_weak_rings`."""

    tilts: list[TiltRings]
    """As given, with frequencies weighed."""
    model: SeriesModel
    choice: ChosenDefoci
    gain_of_hand: float
    """Evidence for the model's handedness over the other, in nats; 0 if it was given."""


def find_weak_rings(
    tilts: Sequence[TiltRings], hands: Sequence[int], grid: Array, search: Search
) -> WeakSeries | None:
    """The likeliest amplitude, handedness and defoci of all tilts together; None if they show no rings.

    search : sums of all tilts for each of some models, see `series_fit`.
    """
    found: dict[int, list[tuple[SeriesModel, ChosenDefoci, list[TiltRings]]]] = {hand: [] for hand in hands}
    n_ranges = max(1, round(math.log(grid[-1] / grid[0]) / math.log(RATIO_OF_RANGES)))
    edges = np.geomspace(grid[0], grid[-1], n_ranges + 1)
    for low, high in pairwise(edges):
        near = (grid >= low - JITTER_REACH_ANGSTROM) & (grid <= high + JITTER_REACH_ANGSTROM)
        weighed = weighed_by_noise(tilts, math.sqrt(low * high))
        for model, choice in _in_range(weighed, hands, grid[near], search):
            found[model.handedness].append((model, choice, weighed))
    best = {hand: max(some, key=lambda one: one[1].evidence) for hand, some in found.items()}
    hand = max(best, key=lambda h: best[h][1].evidence)
    model, choice, weighed = best[hand]
    if choice.evidence < CERTAIN_EVIDENCE:
        return None
    others = [other.evidence for h, (_, other, _) in best.items() if h != hand]
    return WeakSeries(weighed, model, choice, choice.evidence - max(others) if others else 0.0)


def _in_range(
    tilts: Sequence[TiltRings], hands: Sequence[int], grid: Array, search: Search
) -> Iterator[tuple[SeriesModel, ChosenDefoci]]:
    """Models of every amplitude and handedness, with the defoci that they make likeliest."""
    squared = tilts[0].data.band.squared_frequency
    models = [SeriesModel(hand, np.exp(-FALL_ANGSTROM2 * squared)) for hand in hands]
    for model, unit in zip(models, search(tilts, models, grid), strict=True):
        for strength in STRENGTHS:
            sums = SearchSums(strength * unit.matched, strength**2 * unit.energy)
            centre, _ = consensus(sums.gains(), grid)
            choice = choose_defoci(tilts, sums.marginal_gains(STRENGTH_SPREAD), grid, centre)
            yield replace(model, spectrum=strength * model.spectrum), choice


def weighed_by_noise(tilts: Sequence[TiltRings], defocus_angstrom: float) -> list[TiltRings]:
    """The tilts, each frequency weighted down where the series has signal other than rings."""
    data = tilts[0].data
    model = SeriesModel(1, np.exp(-FALL_ANGSTROM2 * data.band.squared_frequency))
    noise = noise_of_series(tilts, model, defocus_angstrom, strength_basis(data.band))
    weight = torch.as_tensor(1.0 / noise, dtype=torch.float32, device=data.weight.device)
    return [replace(tilt, data=replace(tilt.data, weight=tilt.data.weight * weight)) for tilt in tilts]
