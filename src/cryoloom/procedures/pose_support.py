"""Test whether the particles determine the poses on which the halves agree.

Both halves begin with one reference. Smooth shells and layers fit it in any orientation, and their noise
chooses one. Where the choice also moves them, the averages of both halves are the same distorted shell, to
fine detail, and nothing in the maps shows that the particles do not have it. Particles that have it do: even
tilts alone find an orientation at which odd tilts agree with the average. Twins are simulated to learn what
particles with the average's detail, and what those without it, would gain by this (`split_search`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.directed_search import DirectedGrid
from cryoloom.algorithms.averaging.evaluation import HalfMaps, particle_mask
from cryoloom.algorithms.averaging.passes import SearchGrid
from cryoloom.algorithms.averaging.pose_search import shift_grid
from cryoloom.algorithms.averaging.refinement import Refined
from cryoloom.algorithms.averaging.shell_correlation import non_axial, roundest_centre
from cryoloom.algorithms.images.volume_fourier import shift_volume, weigh_shells
from cryoloom.geometry.orientation_grid import rotation_grid
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.procedures.particle_passes import SeriesWorker

__all__ = ["LEAST_SUPPORT", "PoseSupport", "pose_support"]

Array = NDArray[np.float64]

#: Chosen: particles that are searched; they bound the time.
_MOST_PER_HALF = 20
#: Chosen: detail of the search, as a fraction of the diameter, and the finest in angstrom: refinement must
#: reach the maximum from the nearest rotation of the grid.
_BAND_DIAMETERS, _FINEST_ANGSTROM = 0.2, 20.0
#: Chosen: steps of the grid without and with symmetry, of directed particles, in degrees; of the shifts, as a
#: fraction of the band.
_STEP_DEG, _SYMMETRIC_STEP_DEG, _DIRECTED_STEP_DEG, _OF_BAND = 15.0, 10.0, 8.0, 0.2
#: Chosen: poses are supported above this share and this number of standard errors. Lumps, apoferritin and
#: hexamers, with and without their symmetry, had shares of 0.54 to 1.01, 6 to 37 errors; smooth shells and
#: layers at most 1 error (`benchmarks/stated_resolution.py`). Apoferritins among as many lumps, whose map was
#: wrong, had shares of 0.22 to 0.44; among a quarter as many, with right maps, 0.51 to 0.71, and once 0.35
#: (`benchmarks/classes_of_mixtures.py`).
LEAST_SUPPORT, _LEAST_DEVIATIONS = 0.45, 3.0


@dataclass(frozen=True, slots=True)
class PoseSupport:
    """Gain of left-out tilts at poses that the other tilts find, above twins without detail.

    ``share`` is relative to what twins with the average's detail gain; ``deviations`` is relative to the
    standard error.
    """

    share: float
    deviations: float

    @property
    def is_seen(self) -> bool:
        """Whether the particles determine their poses."""
        return self.share > LEAST_SUPPORT and self.deviations > _LEAST_DEVIATIONS


def pose_support(
    worker: SeriesWorker,
    refined: Refined,
    group: str,
    diameter_angstrom: float,
    rng: np.random.Generator,
    *,
    about_axis: bool,
) -> PoseSupport | None:
    """Support of the poses of a worker's particles by separate tilts; None for too few particles."""
    chosen = _some(worker, rng)
    if min(np.count_nonzero(chosen == half) for half in (1, 2)) < 2:
        return None
    band = max(_BAND_DIAMETERS * diameter_angstrom, _FINEST_ANGSTROM, refined.band_angstrom)
    kept = worker.rows
    worker.rows = replace(kept, half=chosen)
    if about_axis:
        axes = kept.rotations[:, :, 2].copy()
        worker.rows = replace(
            worker.rows, prior_directions=axes, prior_width_deg=np.full(kept.n, _DIRECTED_STEP_DEG)
        )
    poses = worker.kept_poses()
    maps, plain, centre = _references(refined, diameter_angstrom, about_axis=about_axis)
    worker.restore((poses[0], poses[1] + poses[0] @ centre))
    try:
        gains = worker.split_search(
            maps,
            plain,
            _grid(group, band, about_axis=about_axis),
            band,
            rng,
        )
    finally:
        worker.rows = kept
        worker.restore(poses)
    return _judged(gains[chosen > 0])


def _judged(gains: Array) -> PoseSupport:
    """From the gains of particles, of twins without and of twins with detail, ``(n, 3)``."""
    above, most = gains[:, 0] - gains[:, 1], gains[:, 2] - gains[:, 1]
    mean, error = float(above.mean()), float(above.std(ddof=1) / np.sqrt(len(above)))
    return PoseSupport(mean / max(float(most.mean()), 1e-12), mean / max(error, 1e-12))


def _some(worker: SeriesWorker, rng: np.random.Generator) -> NDArray[np.int64]:
    """Halves ``(n,)`` of some particles, 0 for the others: those of as few series as have enough."""
    chosen = np.zeros_like(worker.half)
    order = rng.permutation(len(worker.series))
    place = {worker.series[i].name: rank for rank, i in enumerate(order)}
    rank = np.array([place[name] for name in worker.rows.tomogram])
    shuffled = rng.permutation(len(rank))
    shuffled = shuffled[np.argsort(rank[shuffled], kind="stable")]
    for half in (1, 2):
        mine = shuffled[worker.half[shuffled] == half][:_MOST_PER_HALF]
        chosen[mine] = half
    return chosen


def _grid(group: str, band: float, *, about_axis: bool) -> SearchGrid | DirectedGrid:
    operators, step = symmetry_matrices(group), _OF_BAND * band
    if about_axis:
        order = int((operators[:, 2, 2] > 1.0 - 1e-6).sum())
        turn = _DIRECTED_STEP_DEG
        return DirectedGrid(turn, turn, turn, step, step, step, azimuth_range_deg=360.0 / order)
    turn = _STEP_DEG if len(operators) == 1 else _SYMMETRIC_STEP_DEG
    return SearchGrid(rotation_grid(turn, operators), shift_grid(step, step))


def _references(
    refined: Refined, diameter_angstrom: float, *, about_axis: bool
) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor], Array]:
    """Map that each half is compared with, its part that no azimuth changes, and their former centre.

    The centre is where what random poses leave is round. About another, each rotation had other shifts.

    They are the other half's own, and not joined: a particle's noise is in none of them.
    """
    n, voxel = refined.map.shape[0], refined.voxel_angstrom
    mask = particle_mask(n, voxel, diameter_angstrom)
    radius = float((mask.numpy() > 0).sum() * 3.0 / (4.0 * np.pi)) ** (1 / 3)
    correlation = HalfMaps(refined.halves, voxel, n // 2 - 1).correlation(mask)
    weighted = [_weighted(half, np.clip(correlation, 0.0, 1.0)) * mask for half in reversed(refined.halves)]
    centre = roundest_centre(weighted[0] + weighted[1], radius, about_axis=about_axis)
    maps = [shift_volume(density, -centre) for density in weighted]
    plain = [density - non_axial(density, radius) if about_axis else density for density in maps]
    plain = [density * (mask > 0) for density in plain]
    return (maps[0], maps[1]), (plain[0], plain[1]), centre * voxel


def _weighted(density: torch.Tensor, weight: Array) -> torch.Tensor:
    """A map times a weight by shells, 0 beyond its first fall to 0."""
    fallen = np.flatnonzero(weight <= 0)
    curve = weight.copy()
    if len(fallen):
        curve[int(fallen[0]) :] = 0.0
    return weigh_shells(density, curve)
