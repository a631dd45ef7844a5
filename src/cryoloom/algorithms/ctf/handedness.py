"""The microscope's handedness, from two independent estimators.

The first fits the whole series with either sign and compares the likelihoods. The second fits every tilt
independently: its defocus gradient, as a multiple of the geometry's prediction, is free between -2 and 2. Its
mean defocus is free as well, so that drift of the focus has no effect. Tilts vote by the sign that fits them
better, and together they measure the multiple, which must be near 1: a wrong nominal axis, tilt or pretilt
shows there. Tegunov et al., Nat. Methods 18 (2021), correlate measured with predicted gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.ctf.defocus_fit import DefocusFit, search_table, tile_offsets
from cryoloom.algorithms.ctf.series_model import (
    GRID_STEP_ANGSTROM,
    SeriesModel,
    TiltRings,
    at_origin,
    is_seen,
)

__all__ = ["HandEvidence", "gradient_gains", "hand_evidence"]

_LEAST_MULTIPLE = 0.05
"""Half a step of `MULTIPLES`: multiples of the predicted gradient nearer to 0 count for neither sign."""

MULTIPLES = np.linspace(-2.0, 2.0, 41)
"""Chosen: of the predicted gradient, 1 for the one hand and -1 for the other. Twice as far shows whether the
maximum lies beyond."""
#: Chosen: below this inclination to the beam the gradient is too small to be measured.
MIN_STEEPNESS_DEG = 8.0
VOTE_GAIN = 2.0  # nats by which a tilt must prefer one hand to vote: two standard deviations of a sign
#: Chosen: odds of e^20 for the whole series, and three votes for each vote against, at least five.
CLEAR_SERIES_GAIN = 20.0
MIN_VOTES, VOTES_FOR_ONE_AGAINST = 5, 3  # chosen: five tosses of a coin agree by chance in one of 16
#: Chosen: range of the measured gradient over the predicted one.
TRUE_TO_GEOMETRY = (0.5, 1.5)


@dataclass(frozen=True, slots=True)
class HandEvidence:
    """Evidence for and against the handedness of a model."""

    series_gain: float
    """Log-likelihood of the series with this sign over that with the other, in nats."""
    gradient: float
    """Multiple of the predicted gradient that fits best; 1 is expected, -1 of the wrong sign."""
    gradient_sd: float
    votes_for: int
    votes_against: int

    @property
    def objections(self) -> tuple[str, ...]:
        """Why the sign is not accepted as measured; empty if it is."""
        found = []
        if self.series_gain < CLEAR_SERIES_GAIN:
            found.append(f"it is more likely by {self.series_gain:.1f} nats, expected {CLEAR_SERIES_GAIN:g}")
        if self.votes_for < MIN_VOTES or self.votes_for < VOTES_FOR_ONE_AGAINST * self.votes_against:
            found.append(
                f"{self.votes_for} tilts vote for it and {self.votes_against} against; expected {MIN_VOTES}, "
                f"and {VOTES_FOR_ONE_AGAINST} for one against"
            )
        low, high = TRUE_TO_GEOMETRY
        if not low <= self.gradient <= high:
            found.append(
                f"the gradient is {self.gradient:.2f} of what the geometry predicts, expected {low:g} "
                f"to {high:g}; "
                "check the tilt axis"
            )
        return tuple(found)

    @property
    def is_clear(self) -> bool:
        """Whether both estimators agree."""
        return not self.objections


def gradient_gains(tilt: TiltRings, model: SeriesModel, fit: DefocusFit) -> NDArray[np.float64]:
    """Best gain of a tilt at each multiple of the predicted gradient, ``(multiple,)`` in nats.

    The template is that of the predicted steepness: it is the same for either sign.
    """
    data, slope = at_origin(tilt), model.slope(tilt)
    reach = 2.0 * float(np.abs(data.centres_xy_angstrom @ slope).max()) + abs(fit.axial_angstrom)
    near = 15
    margin = near + math.ceil((reach + abs(fit.diagonal_angstrom)) / GRID_STEP_ANGSTROM)
    grid = fit.defocus_angstrom + GRID_STEP_ANGSTROM * np.arange(-margin, margin + 1)
    device = data.residual.device
    table = search_table(
        data,
        model.template(tilt, np.maximum(grid, 100.0)),
        torch.as_tensor(grid, dtype=torch.float32, device=device),
    )
    here = torch.arange(margin - near, margin + near + 1, device=device)
    gains = np.empty(len(MULTIPLES))
    for i, multiple in enumerate(MULTIPLES):
        moved = tile_offsets(data, multiple * slope, fit.axial_angstrom, fit.diagonal_angstrom)
        steps = torch.round(moved / GRID_STEP_ANGSTROM).long()
        index = (here + steps[..., None]).clamp(0, len(grid) - 1)
        gains[i] = float(torch.gather(table, 2, index).sum(dim=(0, 1)).max())
    return gains


def hand_evidence(
    tilts: Sequence[TiltRings], model: SeriesModel, fits: Sequence[DefocusFit], series_gain: float
) -> HandEvidence:
    """Evidence for the model's handedness from tilts with visible rings and enough inclination."""
    curves = np.array(
        [
            gradient_gains(tilt, model, fit)
            for tilt, fit in zip(tilts, fits, strict=True)
            if is_seen(fit) and abs(tilt.tilt_deg + model.inclination_deg[0]) >= MIN_STEEPNESS_DEG
        ]
    ).reshape(-1, len(MULTIPLES))
    if not len(curves):
        return HandEvidence(series_gain, 0.0, math.inf, 0, 0)
    better = curves[:, MULTIPLES > _LEAST_MULTIPLE].max(axis=1) - curves[:, MULTIPLES < -_LEAST_MULTIPLE].max(
        axis=1
    )
    total = curves.sum(axis=0)
    weight = np.exp(total - total.max())
    weight /= weight.sum()
    gradient = float(weight @ MULTIPLES)
    sd = math.sqrt(float(weight @ (MULTIPLES - gradient) ** 2) + (MULTIPLES[1] - MULTIPLES[0]) ** 2 / 12)
    return HandEvidence(
        series_gain, gradient, sd, int((better > VOTE_GAIN).sum()), int((better < -VOTE_GAIN).sum())
    )
