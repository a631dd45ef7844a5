"""A first map of particles picked on surfaces: places first, then azimuths.

Picks lie on the surface, but not at the particles. In a lattice the nearest particle is up to half the
spacing away, while the axis of a pick is known to a few degrees. The search has two stages.

*Places.* The reference is the average about the normal, which needs no azimuth. Particles are moved along the
surface to fit the average of the others. The average over random places of a lattice is a flat layer without
information. Therefore the layer gets a dip or a bump in its middle, one for each start, and the start with
the highest likelihood is kept. Of several picks at one place one is kept, and each takes the normal at its
place.

*Azimuths.* The requested cyclic symmetry is imposed about the normal, on which the particles are centred.
Each half is annealed against its own map. Noise with an imposed symmetry has another pattern in each half.
The symmetry is accepted only if two conditions hold: the parts of the halves that depend on the azimuth
agree, and an average without imposed symmetry, of particles that may take any azimuth, has the symmetry.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.directed_search import DirectedGrid
from cryoloom.algorithms.averaging.evaluation import particle_mask
from cryoloom.algorithms.averaging.map_symmetry import SymmetryFit, symmetry_in_place, turned_map
from cryoloom.algorithms.averaging.maps import low_pass
from cryoloom.algorithms.averaging.particle_images import BoxLayout
from cryoloom.algorithms.averaging.reconstruction import FourierSums, symmetrised
from cryoloom.algorithms.averaging.refinement import PassOrder
from cryoloom.algorithms.averaging.surface_cells import (
    azimuth_band_angstrom,
    cell_diameter_angstrom,
    spacing_angstrom,
)
from cryoloom.algorithms.initial_model.annealing import (
    AnnealingRecord,
    AnnealingWorker,
    extracted,
    filtered,
    inserted,
    precision,
    total,
)
from cryoloom.geometry.rotations import rotation_z
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import ParticleRows

__all__ = [
    "SurfaceMap",
    "SurfaceSettings",
    "SurfaceWorker",
    "azimuthal_agreement",
    "map_on_surfaces",
]

Array = NDArray[np.float64]
Maps = tuple[torch.Tensor, torch.Tensor]

#: Chosen: relative depth of the dip and height of the bump in the layer that the places start from.
_SEEDS = (-0.8, 0.8)
_PLACE_EXPONENTS, _SETTLING, _PASSES_WITH_ALL = (0.03, 0.1, 0.3, 1.0), 3, 3
"""Chosen on a simulated session of HIV (seed 3): the first exponents flatten the likelihood, so that places
are not fixed before a lattice is visible. Then passes of single seeds, and of the best one with all picks."""
_AZIMUTH_EXPONENTS = (0.1, 0.18, 0.32, 0.56, 1.0, 1.0, 1.0)
"""Chosen in the same way, for azimuths."""
_PASSES_WITHOUT_SYMMETRY = 2
"""Chosen: passes without the symmetry, in which a symmetry that was only imposed can disappear."""
#: Chosen: steps of the shifts in the searches of places and azimuths, as a fraction of the band.
_PLACE_STEPS, _AZIMUTH_STEPS = 0.25, 0.2
_CONE_DEG = 8.0
"""Chosen: error that the normal of a pick on a surface may have."""
_SAME_SPACINGS = 0.5
"""Chosen: picks nearer than half a spacing are at one place."""
#: Chosen: mask for places, over the distance that is searched along the surface.
_PLACE_DIAMETERS = 3.8
_FIRST_BAND = 1.4
"""Chosen: the search of azimuths begins at detail coarser by this factor than at its end."""
_CYLINDER = 24
"""Chosen: a map averaged over at least this many rotations is a cylinder."""
_RADIUS_CELLS = 0.5
"""By definition of the cell: radius of the compared region over the diameter of a cell: the whole cell."""
#: Least agreement of the halves. A lattice had 0.95; a session whose alignment had failed had 0.72, because
#: picks of one particle were in both halves.
_LEAST_AGREEMENT, _LEAST_LIKENESS = 0.75, 0.3


class SurfaceWorker(AnnealingWorker, Protocol):
    """A worker over particles with directions."""

    rows: ParticleRows
    diameter_angstrom: float

    @property
    def half(self) -> NDArray[np.int64]:
        """Half of each particle, 0 for excluded particles."""

    @property
    def positions_xyz_angstrom(self) -> Array:
        """Current positions."""

    def carry_directions(self, reach_angstrom: float) -> None:
        """Give particles the normal of their surface at their current places."""


@dataclass(frozen=True, slots=True)
class SurfaceSettings:
    """Settings of a first map on surfaces."""

    diameter_angstrom: float
    spacing_angstrom: float
    """Distance of neighbouring picks."""
    along_angstrom: float
    """Largest distance along the surface from a pick to its particle."""
    normal_angstrom: float
    group: str = "C1"
    band_angstrom: float = 40.0
    """Detail at which places are found."""
    last_band_angstrom: float | None = None
    most_particles: int = 400


@dataclass(frozen=True, slots=True)
class SurfaceMap:
    """A first map, and the evidence for it."""

    map: torch.Tensor
    voxel_angstrom: float
    group: str
    """Symmetry of the map; C1 if the requested one is not seen."""
    likeness: SymmetryFit | None
    """Likeness of the map without imposed symmetry to itself rotated about the normal."""
    agreement: float | None
    """Correlation of the parts of the half maps that depend on the azimuth."""
    apart_angstrom: float
    """Distance below which two picks are one particle."""
    spacing_angstrom: float
    """Distance of neighbouring particles after the search."""
    history: tuple[AnnealingRecord, ...]


def map_on_surfaces(
    worker: SurfaceWorker,
    settings: SurfaceSettings,
    rng: np.random.Generator,
    tell: Callable[[AnnealingRecord], None] = lambda record: None,
) -> SurfaceMap:
    """First map of particles on surfaces. The poses of the worker change with it; z is along the normals."""
    return _Annealing(worker, settings, rng, tell).run()


@dataclass
class _Annealing:
    worker: SurfaceWorker
    settings: SurfaceSettings
    rng: np.random.Generator
    tell: Callable[[AnnealingRecord], None]

    def __post_init__(self) -> None:
        self.history: list[AnnealingRecord] = []
        self.layout: BoxLayout = None  # type: ignore[assignment]

    def run(self) -> SurfaceMap:
        worker, settings = self.worker, self.settings
        self._use_diameter(min(settings.diameter_angstrom, _PLACE_DIAMETERS * settings.along_angstrom))
        self.layout = extracted(worker, settings.band_angstrom)
        self.worker.scatter(self.rng)
        self._find_places()
        spacing, apart = self._without_twins()
        worker.carry_directions(settings.spacing_angstrom)
        cell = cell_diameter_angstrom(settings.diameter_angstrom, spacing)
        self._use_diameter(cell)
        last = self._last_band(cell)
        self.layout = extracted(worker, last)
        group = settings.group.strip().upper()
        agreement = None
        if group != "C1":
            halves = self._find_azimuths(group, last)
            halves, agreement = self._one_frame(halves, group, cell)
            reference = symmetrised(0.5 * (halves[0] + halves[1]), group)
        else:
            reference = self._find_azimuths("C1", last)[0]
        for _ in range(_PASSES_WITHOUT_SYMMETRY):
            reference = self._search((reference, reference), last, self._azimuths(last, "C1", 1.0), "C1")[0]
        likeness = symmetry_in_place(reference, _RADIUS_CELLS * cell / self.layout.pixel_size_angstrom, group)
        is_seen = (
            likeness is not None
            and likeness.likeness >= _LEAST_LIKENESS
            and (agreement or 0.0) >= _LEAST_AGREEMENT
        )
        worker.use_all()
        self._use_diameter(settings.diameter_angstrom)
        self.layout = extracted(worker, last)
        shown = group if is_seen else "C1"
        density = filtered(inserted(worker, self.layout), self.layout, self._mask(), last, shown)
        return SurfaceMap(
            density,
            self.layout.pixel_size_angstrom,
            shown,
            likeness,
            agreement,
            apart,
            spacing,
            tuple(self.history),
        )

    def _find_places(self) -> None:
        """Move all particles along their surface to fit the average about the normal."""
        band, worker = self.settings.band_angstrom, self.worker
        worker.use_at_most(self.settings.most_particles, self.rng)
        flat = _cylinder(filtered(inserted(worker, self.layout), self.layout, self._mask(), band))
        best: tuple[float, torch.Tensor] | None = None
        for start, depth in enumerate(_SEEDS):
            reference = self._seeded(flat, depth)
            for exponent in _PLACE_EXPONENTS:
                reference = self._place_once(reference, exponent, start, whole=True)
            for _ in range(_SETTLING):
                reference = self._place_once(reference, 1.0, start, whole=False)
            score = self.history[-1].log_likelihood
            if best is None or score > best[0]:
                best = (score, reference)
        worker.use_all()
        if best is None:
            raise ValueError("there is no start")
        reference = best[1]
        for i in range(_PASSES_WITH_ALL):
            reference = self._place_once(reference, 1.0, -1, whole=i == 0)

    def _seeded(self, flat: torch.Tensor, depth: float) -> torch.Tensor:
        """A layer with a dip or a bump in its middle."""
        n, width = flat.shape[0], 0.6 * self.settings.along_angstrom
        axis = (torch.arange(n) - n // 2) * self.layout.pixel_size_angstrom
        bump = torch.exp(-0.5 * (axis[:, None] ** 2 + axis[None] ** 2) / width**2)
        return flat * (1.0 + depth * (bump - 0.3))

    def _place_once(
        self, reference: torch.Tensor, exponent: float, start: int, *, whole: bool
    ) -> torch.Tensor:
        """One pass of places: over the whole range about the picks, or near the current places."""
        settings = self.settings
        step = _PLACE_STEPS * settings.band_angstrom
        grid = DirectedGrid(
            azimuth_step_deg=360.0,
            cone_step_deg=_CONE_DEG,
            cone_reach_deg=_CONE_DEG,
            along_angstrom=settings.along_angstrom if whole else step,
            normal_angstrom=settings.normal_angstrom,
            shift_step_angstrom=step,
            temperature=exponent,
            about_picks=whole,
            phase=float(self.rng.uniform()),
        )
        found = self._search((reference, reference), settings.band_angstrom, grid, "C1", start)
        return _cylinder(found[0])

    def _without_twins(self) -> tuple[float, float]:
        """Keep one of several picks at one place. Returns spacing and least distance of the kept picks."""
        apart = _SAME_SPACINGS * self.settings.spacing_angstrom
        self.worker.drop_twins(apart)
        spacing = self._spacing()
        apart = max(apart, _SAME_SPACINGS * spacing)
        self.worker.drop_twins(apart)
        return self._spacing(), apart

    def _spacing(self) -> float:
        """Median distance to the nearest used particle."""
        rows = replace(self.worker.rows, positions_xyz_angstrom=self.worker.positions_xyz_angstrom)
        used = rows.take(np.flatnonzero(self.worker.half > 0))
        return spacing_angstrom(used) or self.settings.diameter_angstrom

    def _find_azimuths(self, group: str, last: float) -> Maps:
        """Maps of the halves, each annealed against its own map; without symmetry, against the common map."""
        self.worker.use_at_most(self.settings.most_particles, self.rng)
        self._turn_at_random()
        first = _FIRST_BAND * last
        halves = self._maps(inserted(self.worker, self.layout), first, group)
        for i, exponent in enumerate(_AZIMUTH_EXPONENTS):
            band = first * (last / first) ** (i / (len(_AZIMUTH_EXPONENTS) - 1))
            halves = self._search(halves, band, self._azimuths(band, group, exponent), group, 0)
        self.worker.use_all()
        return self._search(halves, last, self._azimuths(last, group, 1.0), group)

    def _azimuths(self, band: float, group: str, exponent: float) -> DirectedGrid:
        step = _AZIMUTH_STEPS * band
        return DirectedGrid(
            azimuth_step_deg=_CONE_DEG,
            cone_step_deg=_CONE_DEG,
            cone_reach_deg=_CONE_DEG,
            along_angstrom=step,
            normal_angstrom=step,
            shift_step_angstrom=step,
            azimuth_range_deg=360.0 / len(symmetry_matrices(group)),
            temperature=exponent,
            phase=float(self.rng.uniform()),
        )

    def _turn_at_random(self) -> None:
        """Rotate every particle about its z axis by a random angle."""
        rotations, shifts = self.worker.kept_poses()
        turns = rotation_z(self.rng.uniform(0.0, 360.0, len(rotations)))
        self.worker.restore((rotations @ turns, shifts))

    def _one_frame(self, halves: Maps, group: str, cell: float) -> tuple[Maps, float]:
        """Rotate the second half's particles and map to the azimuth of the first."""
        radius = _RADIUS_CELLS * cell / self.layout.pixel_size_angstrom
        agreement, azimuth = azimuthal_agreement(halves[0], halves[1], group, radius)
        turn = rotation_z(azimuth)
        rotations, shifts = self.worker.kept_poses()
        second = self.worker.half == 2
        # A point r of the map is at Q r in the rotated map, and a pose R becomes R Q^T.
        rotations[second] = rotations[second] @ turn.T
        self.worker.restore((rotations, shifts))
        return (halves[0], turned_map(halves[1], turn)), agreement

    def _search(self, references: Maps, band: float, grid: DirectedGrid, group: str, start: int = -1) -> Maps:
        """One pass. Returns the new references: one for each half with a symmetry, a common one without."""
        worker, plane = self.worker, self.layout.plane
        highest = min(_FIRST_BAND * plane.box_angstrom / band, float(plane.radius[-1]))
        made, effective, likelihood = [], [], []
        order = PassOrder("search", references, band, highest, grid)
        for result, poses in zip(worker.run(order), worker.poses, strict=True):
            made.append(result.halves)
            used = poses.half > 0
            effective.append(result.n_effective[used])
            likelihood.append(result.log_likelihood[used])
        record = AnnealingRecord(
            start,
            grid.temperature,
            band,
            float(np.median(np.concatenate(effective))),
            float(np.mean(np.concatenate(likelihood))),
        )
        self.history.append(record)
        self.tell(record)
        return self._maps(total(made), band, group)

    def _maps(self, sums: tuple[FourierSums, FourierSums], band: float, group: str) -> Maps:
        mask, voxel = self._mask(), self.layout.pixel_size_angstrom
        if group == "C1":
            both = filtered(sums, self.layout, mask, band)
            return both, both
        first, second = (
            low_pass(symmetrised(half.map(precision(sums, mask, voxel, half)) * mask, group), voxel, band)
            for half in sums
        )
        return first, second

    def _mask(self) -> torch.Tensor:
        return particle_mask(
            self.layout.crop_px, self.layout.pixel_size_angstrom, self.worker.diameter_angstrom
        )

    def _use_diameter(self, diameter_angstrom: float) -> None:
        self.worker.diameter_angstrom = diameter_angstrom

    def _last_band(self, cell: float) -> float:
        if self.settings.last_band_angstrom is not None:
            return self.settings.last_band_angstrom
        return azimuth_band_angstrom(cell, self.worker.image_pixel_angstrom)


def azimuthal_agreement(
    first: torch.Tensor, second: torch.Tensor, group: str, radius_px: float
) -> tuple[float, float]:
    """Largest correlation of the azimuth-dependent parts of two maps, and the rotation of the second map.

    The rotation about z is in degrees, within the group's range. Only voxels within a radius are used.
    """
    parts = [density - _cylinder(density, group) for density in (first, second)]
    n = first.shape[0]
    axis = torch.arange(n) - n // 2
    inside = (axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None] ** 2) <= radius_px**2
    one = parts[0][inside]
    best, found = -1.0, 0.0
    for azimuth in np.arange(0.0, 360.0 / len(symmetry_matrices(group)), 2.0):
        other = turned_map(parts[1], rotation_z(azimuth))[inside]
        norm = float(one.norm() * other.norm())
        value = float(one @ other) / norm if norm > 0 else 0.0
        if value > best:
            best, found = value, float(azimuth)
    return best, found


def _cylinder(density: torch.Tensor, group: str = "C1") -> torch.Tensor:
    """Rotational average about z."""
    order = len(symmetry_matrices(group))
    return symmetrised(density, f"C{order * math.ceil(_CYLINDER / order)}")
