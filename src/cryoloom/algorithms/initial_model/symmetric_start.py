"""A first map of symmetric particles from the axes that each particle shows; no reference is assumed.

Particles are centred on their radial average, and each is placed by its own axes (`own_axes`). Their average
with the symmetry imposed is the first reference, with which all placings are searched again. The axes must
define the orientation completely, as those of O and I do. A cyclic axis has two directions and no azimuth,
and a tetrahedron has two orientations with the same axes.

The map is accepted only if the particles have the symmetry. For this test half of the tilts is placed, and
the other half is compared with itself rotated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.evaluation import particle_mask
from cryoloom.algorithms.averaging.particle_images import BoxLayout
from cryoloom.algorithms.averaging.passes import SearchGrid
from cryoloom.algorithms.averaging.pose_search import shift_grid
from cryoloom.algorithms.averaging.reconstruction import symmetrised
from cryoloom.algorithms.averaging.refinement import PassOrder
from cryoloom.algorithms.averaging.shell_correlation import non_radial
from cryoloom.algorithms.initial_model.annealing import (
    Annealed,
    AnnealingRecord,
    AnnealingSettings,
    AnnealingWorker,
    extracted,
    filtered,
    held_out,
    inserted,
    joined,
    search_once,
)
from cryoloom.algorithms.initial_model.own_axes import ClassLikeness, class_likeness, own_step_deg

__all__ = ["SymmetricStart", "SymmetricWorker", "symmetric_start"]

Array = NDArray[np.float64]

_CENTRING_PARTS = (1.0 / 4.0, 1.0 / 8.0, 1.0 / 16.0)
"""Chosen: step of the shifts as a fraction of the band."""
_PASSES = 3
"""Chosen: passes after the placing by the particles' own axes."""
_LEAST_LIKENESS, _LEAST_DEVIATIONS, _LEAST_TOGETHER = 0.3, 1.5, 5.0
"""Chosen: likeness of 0.3 as for maps (`map_symmetry`), and standard errors of each class of rotations and of
all classes together. With weaker evidence there is no map of this symmetry."""


class SymmetricWorker(AnnealingWorker, Protocol):
    """A worker that finds the axes of single particles."""

    def own_axes(self, group: str, band_angstrom: float) -> Array:
        """Place every particle by its own axes. Returns its score above other placings, ``(n,)``."""

    def class_sums(
        self, group: str, references: tuple[torch.Tensor, torch.Tensor], band_angstrom: float
    ) -> Array:
        """As `own_axes.class_sums`, of all particles in use, ``(n, class, 4)``."""


@dataclass(frozen=True, slots=True)
class SymmetricStart:
    """A map with its symmetry imposed, and the evidence that particles have this symmetry."""

    made: Annealed
    significance: float
    """Median over particles of the score of their axes above other placings."""
    classes: tuple[ClassLikeness, ...]

    @property
    def likeness(self) -> float:
        """Likeness under the class of rotations for which it is lowest."""
        return min(one.likeness for one in self.classes)

    @property
    def is_borne_out(self) -> bool:
        """Whether the particles have the symmetry of every class of the group's rotations."""
        deviations = np.array([one.deviations for one in self.classes])
        together = float(deviations.sum()) / np.sqrt(len(deviations))
        certain = deviations.min() >= _LEAST_DEVIATIONS and together >= _LEAST_TOGETHER
        return bool(certain and self.likeness >= _LEAST_LIKENESS)


def symmetric_start(
    worker: SymmetricWorker,
    group: str,
    settings: AnnealingSettings,
    rng: np.random.Generator,
    tell: Callable[[AnnealingRecord], None] = lambda record: None,
) -> SymmetricStart:
    """A first map with a point group from each particle's own axes, at the last band of the settings."""
    band = settings.last_band_angstrom
    settings = replace(settings, step_deg=own_step_deg(band, settings.diameter_angstrom))
    worker.use_at_most(settings.most_particles, rng)
    layout = extracted(worker, band)
    _centre(worker, layout, settings, rng)
    layout = extracted(worker, band)
    significance = float(np.median(worker.own_axes(group, band)))
    history: list[AnnealingRecord] = []

    def note(record: AnnealingRecord) -> None:
        history.append(record)
        tell(record)

    mask = particle_mask(layout.crop_px, layout.pixel_size_angstrom, settings.diameter_angstrom)
    reference = filtered(inserted(worker, layout), layout, mask, band, group)
    halves = (reference, reference)
    for _ in range(_PASSES):
        reference, halves = search_once(worker, reference, layout, settings, rng, band, 1.0, 0, note, group)
    first, second = (symmetrised(half, group) for half in halves)
    # Each half is placed by the map of the other half.
    score = held_out(worker, (first, second), layout, settings, group)
    classes = class_likeness(worker.class_sums(group, (second, first), band), group)
    worker.use_all()
    reference, _ = search_once(worker, reference, layout, settings, rng, band, 1.0, -1, note, group)
    made = Annealed(
        reference,
        joined(inserted(worker, layout)),
        layout.pixel_size_angstrom,
        layout,
        (score,),
        tuple(history),
    )
    return SymmetricStart(made, significance, classes)


def _centre(
    worker: SymmetricWorker, layout: BoxLayout, settings: AnnealingSettings, rng: np.random.Generator
) -> None:
    """Shift every particle onto the radial average of all."""
    worker.scatter(rng)
    band, voxel = settings.last_band_angstrom, layout.pixel_size_angstrom
    mask = particle_mask(layout.crop_px, voxel, settings.diameter_angstrom)
    highest = float(layout.plane.radius[-1])
    reach = settings.shift_range_angstrom
    for part in _CENTRING_PARTS:
        average = filtered(inserted(worker, layout), layout, mask, band)
        radius_px = min(0.6 * settings.diameter_angstrom / voxel, layout.crop_px / 2 - 2)
        radial = (average - non_radial(average, radius_px)) * mask
        grid = SearchGrid(np.eye(3)[None], shift_grid(reach, part * band))
        rotations, _ = worker.kept_poses()
        for _ in worker.run(PassOrder("search", (radial, radial), band, highest, grid)):
            pass
        # The search rotated all particles in the same way.
        worker.restore((rotations, worker.kept_poses()[1]))
        reach = min(reach, 1.5 * part * band)
