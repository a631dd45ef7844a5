"""A first map from particles alone: annealed maximum likelihood from random orientations.

Particles get random orientations, about the direction they were picked with if they have one. Their average
is the first reference: it has the radial density of the particles, and random features. All orientations are
then searched in repeated passes while the exponent of the likelihood rises from 0.05 to 1. In the first
passes hundreds of orientations share a particle, in the last one orientation is left. No symmetry is imposed,
because a symmetry imposed at the start holds the poses in a wrong frame. The start is kept whose map of each
half explains the other half best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.evaluation import HalfMaps, particle_mask
from cryoloom.algorithms.averaging.maps import low_pass
from cryoloom.algorithms.averaging.particle_images import BoxLayout
from cryoloom.algorithms.averaging.passes import SearchGrid
from cryoloom.algorithms.averaging.pose_search import shift_grid
from cryoloom.algorithms.averaging.reconstruction import (
    FourierSums,
    Insertion,
    prior_precision,
    symmetrised,
)
from cryoloom.algorithms.averaging.refinement import PassOrder, Worker
from cryoloom.algorithms.initial_model.start_agreement import agreement_of_starts
from cryoloom.errors import DataUnfitError
from cryoloom.geometry.orientation_grid import rotation_grid
from cryoloom.geometry.rotations import rotation_from_vector
from cryoloom.geometry.symmetry import symmetry_matrices

__all__ = [
    "Annealed",
    "AnnealingRecord",
    "AnnealingSettings",
    "AnnealingWorker",
    "anneal",
    "extracted",
    "filtered",
    "go_on",
    "held_out",
    "inserted",
    "joined",
    "precision",
    "search_once",
    "total",
]

Array = NDArray[np.float64]

#: Exponents of the likelihood, one for each pass. Maps improve only at exponents of 0.3 and more, so few
#: passes are below that, and six are at 1.
_EXPONENTS = (0.05, 0.15, 0.3, 0.6, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
_INSERT_BEYOND = 1.4
"""Chosen: the particles are inserted to detail finer by this factor than the search uses."""
_FINER_PASSES = 3
"""Chosen: passes at each finer band."""


@dataclass(frozen=True, slots=True)
class AnnealingSettings:
    """Settings of a first map."""

    diameter_angstrom: float
    first_band_angstrom: float
    last_band_angstrom: float
    n_starts: int = 4
    shift_range_angstrom: float = 12.0
    step_deg: float = 15.0
    most_particles: int = 400
    """Number of particles in each start; the best start continues with all particles."""


@dataclass(frozen=True, slots=True)
class AnnealingRecord:
    """One pass of one start."""

    start: int
    exponent: float
    band_angstrom: float
    n_effective: float
    log_likelihood: float


@dataclass(frozen=True, slots=True)
class Annealed:
    """Map of the best start, and for every start the likelihood per particle under the other half's map."""

    map: torch.Tensor
    sums: FourierSums
    voxel_angstrom: float
    layout: BoxLayout
    held_out_log_likelihood: tuple[float, ...]
    history: tuple[AnnealingRecord, ...]
    agreement: float | None = None
    """Fraction of the particles that the best start and another start place alike; None for one start."""


class AnnealingWorker(Worker, Protocol):
    """A worker whose poses can be set."""

    @property
    def half(self) -> NDArray[np.int64]:
        """Half of each particle, 0 for unused particles."""

    def scatter(self, rng: np.random.Generator) -> None:
        """Give every particle a random orientation, about its direction if it has one, and no shift."""

    def use_at_most(self, n: int, rng: np.random.Generator) -> None:
        """Work with a random part of the particles until `use_all`."""

    def use_all(self) -> None:
        """Work with all particles."""

    def kept_poses(self) -> tuple[Array, Array]:
        """Current rotations and shifts, for `restore`."""

    def restore(self, poses: tuple[Array, Array]) -> None:
        """Restore rotations and shifts from `kept_poses`."""


def anneal(
    worker: AnnealingWorker,
    settings: AnnealingSettings,
    rng: np.random.Generator,
    tell: Callable[[AnnealingRecord], None] = lambda record: None,
) -> Annealed:
    """The best of several first maps."""
    layout = extracted(worker, settings.last_band_angstrom)
    history: list[AnnealingRecord] = []

    def note(record: AnnealingRecord) -> None:
        history.append(record)
        tell(record)

    best: tuple[float, tuple[Array, Array], torch.Tensor] | None = None
    scores: list[float] = []
    placed: list[tuple[NDArray[np.bool_], Array]] = []
    for start in range(settings.n_starts):
        worker.use_at_most(settings.most_particles, rng)
        worker.scatter(rng)
        mask = particle_mask(layout.crop_px, layout.pixel_size_angstrom, settings.diameter_angstrom)
        sums = inserted(worker, layout)
        reference = filtered(sums, layout, mask, settings.first_band_angstrom)
        halves = (reference, reference)
        for i, exponent in enumerate(_EXPONENTS):
            part = i / (len(_EXPONENTS) - 1)
            band = (
                settings.first_band_angstrom
                * (settings.last_band_angstrom / settings.first_band_angstrom) ** part
            )
            reference, halves = search_once(
                worker, reference, layout, settings, rng, band, exponent, start, note
            )
        score = held_out(worker, halves, layout, settings)
        scores.append(score)
        placed.append((worker.half > 0, worker.kept_poses()[0]))
        if best is None or score > best[0]:
            best = (score, worker.kept_poses(), reference)
    if best is None:
        raise ValueError("expected at least one start")
    worker.use_all()
    worker.restore(best[1])
    reference = best[2]
    for _ in range(2):
        reference, _ = search_once(
            worker, reference, layout, settings, rng, settings.last_band_angstrom, 1.0, -1, note
        )
    both = joined(inserted(worker, layout))
    agreement = agreement_of_starts(
        placed,
        int(np.argmax(scores)),
        settings.step_deg,
        rng,
        about_axis=any(poses.prior.directions is not None for poses in worker.poses),
    )
    return Annealed(
        reference, both, layout.pixel_size_angstrom, layout, tuple(scores), tuple(history), agreement
    )


def go_on(
    worker: AnnealingWorker, made: Annealed, settings: AnnealingSettings, rng: np.random.Generator
) -> Annealed:
    """Continue a first map to the last band of other settings, from the current poses of all particles.

    Poses of the coarser band are averaged with smaller pixels. Then all orientations are searched again,
    in the first passes with as many particles as a start has.
    """
    layout = extracted(worker, settings.last_band_angstrom)
    mask = particle_mask(layout.crop_px, layout.pixel_size_angstrom, settings.diameter_angstrom)
    reference = filtered(inserted(worker, layout), layout, mask, settings.last_band_angstrom)
    history = list(made.history)
    worker.use_at_most(settings.most_particles, rng)
    for i in range(_FINER_PASSES):
        if i == _FINER_PASSES - 1:
            worker.use_all()
        reference, _ = search_once(
            worker, reference, layout, settings, rng, settings.last_band_angstrom, 1.0, -1, history.append
        )
    return replace(
        made,
        map=reference,
        sums=joined(inserted(worker, layout)),
        voxel_angstrom=layout.pixel_size_angstrom,
        layout=layout,
        history=tuple(history),
    )


def search_once(
    worker: Worker,
    reference: torch.Tensor,
    layout: BoxLayout,
    settings: AnnealingSettings,
    rng: np.random.Generator,
    band: float,
    exponent: float,
    start: int,
    tell: Callable[[AnnealingRecord], None],
    group: str = "C1",
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """Search all orientations once against one map. Returns the new map and its halves."""
    rotations = rotation_grid(settings.step_deg, symmetry_matrices(group))
    if group == "C1":
        # Every pass has a different grid, so that poses are not biased to its points.
        rotations = rotation_from_vector(rng.normal(0.0, 2.0, (1, 3)))[0] @ rotations
    step = max(2.0, band / 6.0)
    shifts = shift_grid(min(settings.shift_range_angstrom, 1.01 * step), step)
    highest = min(_INSERT_BEYOND * layout.plane.box_angstrom / band, float(layout.plane.radius[-1]))
    order = PassOrder(
        "search", (reference, reference), band, highest, SearchGrid(rotations, shifts, exponent)
    )
    made, effective, likelihood = [], [], []
    for result, poses in zip(worker.run(order), worker.poses, strict=True):
        made.append(result.halves)
        used = poses.half > 0
        effective.append(result.n_effective[used])
        likelihood.append(result.log_likelihood[used])
    sums = total(made)
    record = AnnealingRecord(
        start,
        exponent,
        band,
        float(np.median(np.concatenate(effective))),
        float(np.mean(np.concatenate(likelihood))),
    )
    tell(record)
    mask = particle_mask(layout.crop_px, layout.pixel_size_angstrom, settings.diameter_angstrom)
    voxel = layout.pixel_size_angstrom
    halves = tuple(
        low_pass(half.map(precision(sums, mask, voxel, half)) * mask, voxel, band) for half in sums
    )
    return filtered(sums, layout, mask, band, group), (halves[0], halves[1])


def extracted(worker: AnnealingWorker, band_angstrom: float) -> BoxLayout:
    """Boxes for a band, after extraction of all particles at their current positions."""
    layout = worker.layout(max(band_angstrom / _INSERT_BEYOND, 2.05 * worker.image_pixel_angstrom))
    worker.extract(layout)
    return layout


def inserted(worker: AnnealingWorker, layout: BoxLayout) -> tuple[FourierSums, FourierSums]:
    """Sums of both halves at the current poses."""
    order = PassOrder("insert", None, 0.0, float(layout.plane.radius[-1]))
    return total([result.halves for result in worker.run(order)])


def held_out(
    worker: Worker,
    halves: tuple[torch.Tensor, torch.Tensor],
    layout: BoxLayout,
    settings: AnnealingSettings,
    group: str = "C1",
) -> float:
    """Mean log-likelihood of each half's particles under the other half's map, with a symmetry."""
    rotations = rotation_grid(settings.step_deg, symmetry_matrices(group))
    band = settings.last_band_angstrom
    grid = SearchGrid(rotations, shift_grid(0.0, 1.0))
    order = PassOrder("search", (halves[1], halves[0]), band, 2.0, grid)
    kept = [
        (poses.half, result.log_likelihood)
        for poses, result in zip(worker.poses, worker.run(order), strict=True)
    ]
    return float(np.mean(np.concatenate([likelihood[half > 0] for half, likelihood in kept])))


def total(parts: Sequence[tuple[Insertion, Insertion]]) -> tuple[FourierSums, FourierSums]:
    """Sums of both halves over all series."""
    if not parts:
        raise DataUnfitError("there is no series with particles to average")
    first, second = parts[0]
    for one, other in parts[1:]:
        first.add(one)
        second.add(other)
    return first.sums(), second.sums()


def joined(sums: tuple[FourierSums, FourierSums]) -> FourierSums:
    """Sums of both halves together."""
    first, second = sums
    return FourierSums(first.box_px, first.highest, first.data + second.data, first.weights + second.weights)


def precision(
    sums: tuple[FourierSums, FourierSums], mask: torch.Tensor, voxel: float, of: FourierSums
) -> Array:
    """Prior precision for the map of one half, or of both halves, from the correlation of the halves."""
    correlation = HalfMaps.of_sums(sums, voxel).correlation(mask)
    n = int(of.highest) + 1
    curve = np.full(n, correlation[-1])
    curve[: min(n, len(correlation))] = correlation[:n]
    return prior_precision(of.shell_weights(), np.clip(curve, 0.01, None))


def filtered(
    sums: tuple[FourierSums, FourierSums],
    layout: BoxLayout,
    mask: torch.Tensor,
    band: float,
    group: str = "C1",
) -> torch.Tensor:
    """Map of both halves, masked and low-passed to a band."""
    voxel, both = layout.pixel_size_angstrom, joined(sums)
    density = both.map(precision(sums, mask, voxel, both)) * mask
    if group != "C1":
        density = symmetrised(density, group)
    return low_pass(density, voxel, band)
