"""Test whether particles refined with a symmetry have it, by their choice among equivalent poses.

A particle aligned to a symmetric map takes any of its equivalent poses, and the average of many particles
has the symmetry even if the particles lack it. The test breaks the symmetry. A map without symmetry is made
from one particle. In each round as many particles are added as the map contains, each in the equivalent pose
that fits the map best. Then each particle is compared with the map of the other half and chooses an
equivalent pose by its even tilts. If the particles lack the symmetry, their odd tilts agree with this choice.
For noise and for symmetric particles all equivalents fit equally well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.evaluation import particle_mask
from cryoloom.algorithms.averaging.maps import low_pass
from cryoloom.algorithms.averaging.reconstruction import (
    FourierSums,
    expected_cube,
    expected_sums,
    prior_precision,
)
from cryoloom.algorithms.averaging.refinement import PassOrder, Refined
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.procedures.particle_passes import SeriesWorker

__all__ = ["Asymmetry", "asymmetry"]

Array = NDArray[np.float64]

#: Chosen: particles of each half from which the map without symmetry is made; they bound the time.
_MOST_PER_HALF = 64
#: Chosen: detail at which domains differ, as a fraction of the diameter, and at the finest in angstrom.
_BAND_DIAMETERS, _FINEST_ANGSTROM = 1.0 / 8.0, 15.0
#: Chosen: correlation that the prior of these maps assumes in all shells; few particles give no curve.
_ASSUMED_FSC = 0.5
#: Chosen: particles lack the symmetry above this share and this number of standard errors. Particles without
#: the symmetry refined as C6, D4 and O had shares of 0.93, 0.59 and 0.48, 5 to 6 errors; those with C6, D4 or
#: O at most 0.05 (`benchmarks/stated_resolution.py`). Apoferritins among as many lumps (nine seeds, wrong
#: maps) had 0.14 to 0.36, 3.3 to 6.4 errors; among a quarter as many (right maps) at most 0.09
#: (`benchmarks/classes_of_mixtures.py`).
_LEAST_SHARE, _LEAST_DEVIATIONS = 0.1, 3.0


@dataclass(frozen=True, slots=True)
class Asymmetry:
    """Gain in the log-likelihood of left-out tilts by the choice among equivalent poses.

    ``share`` is relative to the gain of the symmetric map; ``deviations`` is relative to the standard error.
    """

    share: float
    deviations: float

    @property
    def is_seen(self) -> bool:
        """Whether the particles lack the symmetry."""
        return self.share > _LEAST_SHARE and self.deviations > _LEAST_DEVIATIONS


def asymmetry(
    worker: SeriesWorker, refined: Refined, group: str, diameter_angstrom: float, rng: np.random.Generator
) -> Asymmetry | None:
    """Gain of a worker's particles by the choice among equivalent poses; None for C1."""
    operators = symmetry_matrices(group)
    if len(operators) == 1 or refined.references is None:
        return None
    breaking = _Breaking(worker, refined, group, diameter_angstrom)
    kept, rows = worker.kept_poses(), worker.rows
    try:
        return breaking.run(rng)
    finally:
        worker.rows = rows
        worker.restore(kept)


class _Breaking:
    """Maps of both halves without the symmetry, each grown from one particle."""

    def __init__(self, worker: SeriesWorker, refined: Refined, group: str, diameter_angstrom: float) -> None:
        self._worker, self._refined, self._group = worker, refined, group
        self._band = max(_BAND_DIAMETERS * diameter_angstrom, _FINEST_ANGSTROM, refined.band_angstrom)
        n, self._voxel = refined.map.shape[0], refined.voxel_angstrom
        self._highest = min(1.2 * n * self._voxel / self._band, n / 2 - 2.0)
        self._mask = particle_mask(n, self._voxel, diameter_angstrom)
        self._half = worker.half.copy()
        first, second = refined.references or (refined.map, refined.map)
        self._symmetric = expected_cube(0.5 * (first + second), self._highest)

    def run(self, rng: np.random.Generator) -> Asymmetry | None:
        members = [rng.permutation(np.flatnonzero(self._half == half))[:_MOST_PER_HALF] for half in (1, 2)]
        if min(map(len, members)) < 2:
            return None
        n_placed = 1
        while n_placed < max(map(len, members)):
            maps = self._maps([mine[:n_placed] for mine in members])
            batch = np.concatenate([mine[n_placed : 2 * n_placed] for mine in members])
            self._choose(batch, self._terms(maps, batch).sum(axis=2))
            n_placed *= 2
        everyone = np.concatenate(members)
        for some in (members[0][::2], members[0][1::2]), (members[1][::2], members[1][1::2]):
            self._settle(some)
        first, second = self._maps(members)
        # Particles are compared with the map of the other half.
        chosen = self._terms((second, first), everyone)
        whole = self._refined.references or (first, second)
        symmetric = self._terms((whole[1], whole[0]), everyone)[:, 0]
        return _compared(chosen, symmetric)

    def _settle(self, parts: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
        """Choose the poses of each part of a half again, with the map of the other part."""
        for chosen, by in (parts, parts[::-1]):
            if len(by) and len(chosen):
                maps = self._maps([by, by])
                self._choose(chosen, self._terms(maps, chosen).sum(axis=2))

    def _choose(self, which: NDArray[np.int64], terms: Array) -> None:
        best = _explained(terms).argmax(axis=1)
        rotations, shifts = self._worker.kept_poses()
        rotations[which] = rotations[which] @ symmetry_matrices(self._group)[best]
        self._worker.restore((rotations, shifts))

    def _terms(self, maps: tuple[torch.Tensor, torch.Tensor], which: NDArray[np.int64]) -> Array:
        self._show(which)
        return self._worker.equivalents(self._group, maps, self._band)[which]

    def _show(self, which: NDArray[np.int64]) -> None:
        shown = np.zeros_like(self._half)
        shown[which] = self._half[which]
        self._worker.rows = replace(self._worker.rows, half=shown)

    def _maps(self, placed: list[NDArray[np.int64]]) -> tuple[torch.Tensor, torch.Tensor]:
        self._show(np.concatenate(placed))
        total = None
        for result in self._worker.run(PassOrder("insert", None, 0.0, self._highest)):
            if total is None:
                total = result.halves
            else:
                total[0].add(result.halves[0])
                total[1].add(result.halves[1])
        if total is None:
            raise ValueError("there is no series with particles")
        sums = [half.sums() for half in total]
        filled = [half for half in sums if float(half.weights.sum()) > 0]
        if len(filled) == 1:
            sums = [filled[0], filled[0]]
        return self._map(sums[0]), self._map(sums[1])

    def _map(self, sums: FourierSums) -> torch.Tensor:
        """Map without the symmetry; where few images reach it is the symmetric one.

        Zero there would favour the equivalents whose images reach the same frequencies, with the wedge that
        no tilt shows: even and odd tilts of particles that have the symmetry would agree about that.
        """
        weights = sums.shell_weights()
        precision = prior_precision(weights, np.full(len(weights), _ASSUMED_FSC))
        expected = expected_sums(self._symmetric, precision)
        density = replace(sums, data=sums.data + expected).map(precision)
        return low_pass(density * self._mask, self._voxel, self._band)


def _explained(terms: Array) -> Array:
    """Gain in nats at the best positive amplitude, from cross and quadratic terms ``(..., 2)``."""
    cross = np.clip(terms[..., 0], 0.0, None)
    return np.asarray(0.5 * cross**2 / np.maximum(terms[..., 1], 1e-12))


def _compared(chosen: Array, symmetric: Array) -> Asymmetry:
    """Gain of one half of the tilts by the choice of the other half, averaged over both directions.

    chosen : terms ``(n, g, 2, 2)`` for maps without symmetry. symmetric : ``(n, 2, 2)`` for symmetric maps.
    """
    gains, whole = [], []
    every = np.arange(len(chosen))
    for by, tested in ((0, 1), (1, 0)):
        best = _explained(chosen[:, :, by]).argmax(axis=1)
        at_best = chosen[every, best, tested]
        amplitude = max(float(at_best[:, 0].sum()) / max(float(at_best[:, 1].sum()), 1e-12), 0.0)
        nats = amplitude * chosen[:, :, tested, 0] - 0.5 * amplitude**2 * chosen[:, :, tested, 1]
        gains.append(nats[every, best] - nats.mean(axis=1))
        whole.append(symmetric[:, tested, 0] - 0.5 * symmetric[:, tested, 1])
    gain = np.mean(gains, axis=0)
    error = float(gain.std(ddof=1)) / np.sqrt(len(gain))
    return Asymmetry(
        float(gain.mean()) / max(float(np.mean(whole)), 1e-12), float(gain.mean()) / max(error, 1e-12)
    )
