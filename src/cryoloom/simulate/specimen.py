"""The specimen: ice wide enough to fill the field at every tilt, and its contents."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cryoloom.geometry.orientation_grid import even_directions
from cryoloom.geometry.rotations import rotation_x, rotation_y
from cryoloom.simulate.ice_crystals import IceCrystals, place_crystals
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.particles import (
    REFERENCE_VOXEL_ANGSTROM,
    ParticleModel,
    builtin_models,
    model_from_file,
)
from cryoloom.simulate.truth import MembraneTruth, ParticleTruth, TiltTruth

__all__ = ["Clouds", "Specimen", "make_specimen"]

_LEAFLET_DISTANCE_ANGSTROM = 36.0
_LEAFLET_THICKNESS_ANGSTROM = 10.0
"""Chosen near measured ones: 36 to 38 A from head groups to head groups, Nagle & Tristram-Nagle, Biochim.
Biophys. Acta 1469 (2000)."""
_LIPID_AREA_ANGSTROM2 = 65.0  # one head group
_CROWD_CELL_ANGSTROM = 400.0
"""Chosen: cells by which proteins are sorted; only speed depends on it."""
_SURFACES_OF_BEADS: dict[str, tuple[int, ...]] = {
    "inside": (),
    "on_top": (1,),
    "below": (-1,),
    "on_both": (-1, 1),
}
#: Chosen: volume of one point of the crowd, about that of a small protein (20 kDa).
_CROWD_POINT_VOLUME_ANGSTROM3 = 24000.0


@dataclass(frozen=True, slots=True)
class Clouds:
    """Point scatterers in groups that move together; arrays as `kernels.specimen_layers` takes them."""

    points: NDArray[np.float32]
    weights: NDArray[np.float32]
    spans: NDArray[np.int64]
    radii: NDArray[np.float32]
    rotations: NDArray[np.float32]
    centres: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Specimen:
    """Scatterers in the beam. ``clouds`` are damaged by dose; gold and the ice itself are not."""

    clouds: Clouds
    beads_xyz_angstrom: NDArray[np.float64]
    particles: tuple[ParticleTruth, ...]
    vesicles_xyz_angstrom: NDArray[np.float64]
    membranes: tuple[MembraneTruth, ...]
    crystals: IceCrystals
    normal: NDArray[np.float64]
    """Normal of the ice, unit length, in the specimen's frame."""
    height_angstrom: float
    """Height of the ice's middle plane above the origin, along the normal."""


def make_specimen(
    params: SimulationParams, tilts: tuple[TiltTruth, ...], rng: np.random.Generator
) -> Specimen:
    """Fill the ice that any tilt can see; numbers in the parameters are for the untilted field."""
    slab = rotation_y(params.pretilt_y_deg) @ rotation_x(params.pretilt_x_deg)
    offset = np.array([0.0, 0.0, params.z_offset_angstrom])
    low, high = _extent_in_ice(params, tilts, slab, offset)
    field = float(np.prod(params.image_shape_yx)) * params.pixel_size_angstrom**2
    more = float(np.prod(high - low)) / field
    half = 0.5 * params.thickness_angstrom
    placed = _Placed(low, high, half)

    vesicle_radii = rng.uniform(0.35, 0.8, round(params.n_vesicles * more)) * min(half, 500.0)
    vesicles = placed.add(vesicle_radii, rng)
    vesicle_radii = vesicle_radii[: len(vesicles)]
    beads = placed.add(
        np.full(round(params.n_beads * more), params.bead_diameter_angstrom / 2),
        rng,
        _SURFACES_OF_BEADS[params.beads_lie],
    )
    if params.specimen_path is None:
        models = builtin_models(params.particle_phase_rad, np.random.default_rng([params.seed, 7]))
    else:
        models = (model_from_file(params.specimen_path, params.particle_phase_rad),)
    n_each = round(params.n_particles * more / len(models))
    centres = [placed.add(np.full(n_each, 0.9 * model.radius_angstrom), rng) for model in models]
    turns = [
        Rotation.random(len(found), rng).as_matrix() if len(found) else np.zeros((0, 3, 3))
        for found in centres
    ]

    builder = _CloudBuilder(slab, offset)
    for model, found, turned in zip(models, centres, turns, strict=True):
        builder.add_particles(model, found, turned)
    for centre, radius in zip(vesicles, vesicle_radii, strict=True):
        builder.add_vesicle(centre, radius, params.membrane_phase_rad, rng)
    builder.add_crowd(low, high, half, params.crowd_phase_rad, rng)
    membranes = [
        builder.add_membrane(placed, params.membrane_phase_rad, rng)
        for _ in range(round(params.n_membranes * more))
    ]
    crystals = place_crystals(
        round(params.n_ice_crystals * more), params.ice_crystal_diameter_angstrom, low, high, half, rng
    )
    return Specimen(
        clouds=builder.clouds(),
        beads_xyz_angstrom=beads @ slab.T + offset,
        particles=tuple(
            ParticleTruth(
                species=model.species,
                positions_xyz_angstrom=found @ slab.T + offset,
                rotations=tuple(slab @ turn for turn in turned),
            )
            for model, found, turned in zip(models, centres, turns, strict=True)
        ),
        vesicles_xyz_angstrom=vesicles @ slab.T + offset,
        membranes=tuple(membranes),
        crystals=IceCrystals(crystals.centres_xyz_angstrom @ slab.T + offset, crystals.forms @ slab.T),
        normal=slab[:, 2],
        height_angstrom=float(slab[2, 2] * params.z_offset_angstrom),
    )


def _extent_in_ice(
    params: SimulationParams,
    tilts: tuple[TiltTruth, ...],
    slab: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest x and y, in the ice's frame, that any tilt sees anywhere in the ice."""
    corners = (
        0.5
        * np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
        * np.array(params.image_shape_yx[::-1])
        * params.pixel_size_angstrom
    )
    corners = corners + np.sign(corners) * 200.0  # particles and fringes reach into the field
    seen = []
    for tilt in tilts:
        to_image = tilt.pose.matrix @ slab
        xy = corners - np.array(tilt.shift_xy_angstrom) - (tilt.pose.matrix @ offset)[:2]
        for z in (-0.5 * params.thickness_angstrom, 0.5 * params.thickness_angstrom):
            # Points (a, b, z) of the ice with to_image[:2] (a, b, z) = xy.
            seen.append(np.linalg.solve(to_image[:2, :2], (xy - to_image[:2, 2] * z).T).T)
    everything = np.concatenate(seen)
    return everything.min(axis=0), everything.max(axis=0)


class _Placed:
    """Spheres put into the ice at random, none into another."""

    def __init__(self, low: NDArray[np.float64], high: NDArray[np.float64], half: float) -> None:
        self.low, self.high, self.half = low, high, half
        self.centres = np.zeros((0, 3))
        self.radii = np.zeros(0)

    def add(
        self, radii: NDArray[np.float64], rng: np.random.Generator, surfaces: tuple[int, ...] = ()
    ) -> NDArray[np.float64]:
        """Centres ``(n, 3)`` in the ice's frame; fewer than asked where the ice is full.

        surfaces : signs of the surfaces on which the centres lie in turn; anywhere within the ice if empty.
        """
        found: list[NDArray[np.float64]] = []
        for radius in radii:
            for _ in range(60):
                room = max(self.half - radius, 0.0)
                centre = np.append(rng.uniform(self.low, self.high), rng.uniform(-room, room))
                if surfaces:
                    centre[2] = surfaces[len(found) % len(surfaces)] * self.half
                apart = np.linalg.norm(self.centres - centre, axis=1) - self.radii - radius
                if apart.size == 0 or apart.min() > 0:
                    self.centres = np.vstack([self.centres, centre])
                    self.radii = np.append(self.radii, radius)
                    found.append(centre)
                    break
        return np.array(found).reshape(-1, 3)


class _CloudBuilder:
    """Collects clouds in the ice's frame and converts them to the specimen's frame."""

    def __init__(self, slab: NDArray[np.float64], offset: NDArray[np.float64]) -> None:
        self.slab, self.offset = slab, offset
        self.points: list[NDArray[np.float32]] = []
        self.weights: list[NDArray[np.float32]] = []
        self.n_points = 0
        self.spans: list[tuple[int, int]] = []
        self.radii: list[float] = []
        self.rotations: list[NDArray[np.float64]] = []
        self.centres: list[NDArray[np.float64]] = []

    def add_particles(
        self, model: ParticleModel, centres: NDArray[np.float64], turns: NDArray[np.float64]
    ) -> None:
        span = self._add_points(model.points_xyz_angstrom, model.weights)
        radius = model.radius_angstrom
        for centre, turn in zip(centres, turns, strict=True):
            self._add_cloud(span, radius, centre, turn)

    def add_vesicle(
        self, centre: NDArray[np.float64], radius: float, phase_rad: float, rng: np.random.Generator
    ) -> None:
        """Two leaflets of head groups about a slightly squeezed sphere."""
        squeeze = np.array([1.0, rng.uniform(0.8, 1.0), rng.uniform(0.75, 1.0)])
        turn = Rotation.random(random_state=rng).as_matrix()
        shells = []
        for distance in (0.0, _LEAFLET_DISTANCE_ANGSTROM):
            axes = radius * squeeze - distance
            n = round(4 * np.pi * float(np.mean(axes**2)) / _LIPID_AREA_ANGSTROM2)
            directions = even_directions(n) @ Rotation.random(random_state=rng).as_matrix()
            shells.append(directions * axes + rng.normal(0, 0.3 * _LEAFLET_THICKNESS_ANGSTROM, (n, 3)))
        points = np.concatenate(shells).astype(np.float32)
        weights = np.full(len(points), _lipid_phase(phase_rad), dtype=np.float32)
        self._add_cloud(self._add_points(points, weights), radius + 20.0, centre, turn)

    def add_membrane(self, placed: _Placed, phase_rad: float, rng: np.random.Generator) -> MembraneTruth:
        """Two flat leaflets at any angle, cut off at the ice's surfaces and around what is there already."""
        radius = float(rng.uniform(400.0, 1000.0))
        reach = 0.5 * placed.half
        centre = np.append(rng.uniform(placed.low, placed.high), rng.uniform(-reach, reach))
        turn = Rotation.random(random_state=rng).as_matrix()
        n = round(np.pi * radius**2 / _LIPID_AREA_ANGSTROM2)
        leaflets = []
        for height in (-0.5 * _LEAFLET_DISTANCE_ANGSTROM, 0.5 * _LEAFLET_DISTANCE_ANGSTROM):
            spiral = radius * np.sqrt((np.arange(n) + 0.5) / n)
            angle = np.pi * (3.0 - np.sqrt(5.0)) * np.arange(n) + rng.uniform(0, 2 * np.pi)
            flat = np.column_stack([spiral * np.cos(angle), spiral * np.sin(angle), np.full(n, height)])
            leaflets.append(flat + rng.normal(0, 0.3 * _LEAFLET_THICKNESS_ANGSTROM, (n, 3)))
        points = np.concatenate(leaflets) @ turn.T
        kept = np.abs(points[:, 2] + centre[2]) < placed.half
        near = np.linalg.norm(placed.centres - centre, axis=1) < placed.radii + radius + 30.0
        for other, size in zip(placed.centres[near], placed.radii[near], strict=True):
            kept &= ((points + centre - other) ** 2).sum(axis=1) > size**2
        points = points[kept].astype(np.float32)
        weights = np.full(len(points), _lipid_phase(phase_rad), dtype=np.float32)
        self._add_cloud(self._add_points(points, weights), radius + 40.0, centre, np.eye(3))
        where, normal = self.slab @ centre + self.offset, self.slab @ turn[:, 2]
        return MembraneTruth(
            centre_xyz_angstrom=tuple(map(float, where)),
            normal_xyz=tuple(map(float, normal)),
            radius_angstrom=radius,
        )

    def add_crowd(
        self,
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        half: float,
        phase_rad: float,
        rng: np.random.Generator,
    ) -> None:
        """White noise of the given rms phase per reference voxel: many points of random sign."""
        volume = float(np.prod(high - low)) * 2 * half
        n = round(volume / _CROWD_POINT_VOLUME_ANGSTROM3)
        if n == 0 or phase_rad == 0:
            return
        places = np.column_stack([rng.uniform(low, high, (n, 2)), rng.uniform(-half, half, n)])
        # Variance of the phase in a volume V is density q^2 V / voxel^4 for points of q rad A^2.
        q = phase_rad * REFERENCE_VOXEL_ANGSTROM**0.5 * _CROWD_POINT_VOLUME_ANGSTROM3**0.5
        weights = (q * rng.choice([-1.0, 1.0], n)).astype(np.float32)
        # Cells that fit 16 bits are sorted by radix, ten times faster than by comparison.
        cell = np.floor((places - [*low, -half]) / _CROWD_CELL_ANGSTROM).astype(int)
        grid = tuple(int(m) + 1 for m in cell.max(axis=0))
        of_cell = np.ravel_multi_index(tuple(cell.T), grid)
        of_cell = of_cell.astype(np.uint16 if np.prod(grid) < 65536 else np.int64)
        order = np.argsort(of_cell, kind="stable")
        edges = np.flatnonzero(np.diff(of_cell[order].astype(int), prepend=-1, append=-1))
        for start, stop in pairwise(edges):
            members = order[start:stop]
            centre = places[members].mean(axis=0)
            points = (places[members] - centre).astype(np.float32)
            reach = float(np.linalg.norm(points, axis=1).max())
            self._add_cloud(self._add_points(points, weights[members]), reach, centre, np.eye(3))

    def _add_points(self, points: NDArray[np.float32], weights: NDArray[np.float32]) -> tuple[int, int]:
        span = (self.n_points, self.n_points + len(points))
        self.points.append(points)
        self.weights.append(weights)
        self.n_points = span[1]
        return span

    def _add_cloud(
        self, span: tuple[int, int], radius: float, centre: NDArray[np.float64], turn: NDArray[np.float64]
    ) -> None:
        self.spans.append(span)
        self.radii.append(radius)
        self.centres.append(self.slab @ centre + self.offset)
        self.rotations.append(self.slab @ turn)

    def clouds(self) -> Clouds:
        if not self.spans:
            self._add_cloud(
                self._add_points(np.zeros((1, 3), np.float32), np.zeros(1, np.float32)),
                0.0,
                np.zeros(3),
                np.eye(3),
            )
        return Clouds(
            np.concatenate(self.points),
            np.concatenate(self.weights),
            np.array(self.spans, dtype=np.int64),
            np.array(self.radii, dtype=np.float32),
            np.array(self.rotations, dtype=np.float32),
            np.array(self.centres, dtype=np.float32),
        )


def _lipid_phase(phase_rad: float) -> float:
    """Projected phase of one lipid's head in rad A^2, from the leaflet's phase per reference voxel."""
    return phase_rad / REFERENCE_VOXEL_ANGSTROM * _LEAFLET_THICKNESS_ANGSTROM * _LIPID_AREA_ANGSTROM2
