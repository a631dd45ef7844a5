"""First maps on surfaces: places along the surface, then azimuths; imposed symmetry is not taken on trust."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from cryoloom.algorithms.averaging.directed_search import carried_directions
from cryoloom.algorithms.averaging.halves import duplicates
from cryoloom.algorithms.averaging.map_symmetry import turned_map
from cryoloom.algorithms.averaging.passes import Poses
from cryoloom.algorithms.averaging.pose_refinement import PosePrior
from cryoloom.algorithms.averaging.reconstruction import symmetrised
from cryoloom.algorithms.averaging.surface_cells import spacing_angstrom
from cryoloom.algorithms.initial_model.surface_annealing import (
    SurfaceSettings,
    azimuthal_agreement,
    map_on_surfaces,
)
from cryoloom.geometry.orientation_grid import even_directions, rotations_between, z_axis_to
from cryoloom.geometry.rotations import rotation_z
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import ParticleRows
from makers.posed_images import BOX_PX, PIXEL_ANGSTROM, MemoryWorker, cube_of, made_images

N, RADIUS = 16, 200.0
SETTINGS = SurfaceSettings(130.0, 150.0, 20.0, 0.0, "C4", most_particles=8)


@dataclass
class SurfaceMemoryWorker(MemoryWorker):
    """Picks on a sphere, their images made anew at each extraction."""

    rows: ParticleRows = field(kw_only=True)
    truth: tuple[torch.Tensor, np.ndarray, np.ndarray] = field(kw_only=True)
    """Map, positions and rotations."""
    diameter_angstrom: float = 130.0
    noise_seed: int = 7

    @property
    def poses(self):
        prior = PosePrior(12.0, self.rows.prior_directions, self.rows.prior_width_deg)
        return [Poses(self.half, self.rotations, self.shifts, prior)]

    @property
    def positions_xyz_angstrom(self):
        return self.rows.positions_xyz_angstrom + self.shifts

    def extract(self, layout):
        self.rows = replace(self.rows, positions_xyz_angstrom=self.positions_xyz_angstrom)
        self.shifts = np.zeros_like(self.shifts)
        density, places, rotations = self.truth
        self.images = made_images(
            cube_of(density), rotations, places - self.rows.positions_xyz_angstrom, 60.0,
            np.random.default_rng(self.noise_seed),
        )  # fmt: skip

    def scatter(self, rng):
        azimuth = rng.uniform(0, 360, self.rows.n)
        self.rotations = z_axis_to(self.rows.prior_directions, azimuth)
        self.shifts = np.zeros_like(self.shifts)

    def drop_twins(self, distance_angstrom):
        used = np.flatnonzero(self.half > 0)
        places = replace(self.rows, positions_xyz_angstrom=self.positions_xyz_angstrom)
        self.half = self.half.copy()
        self.half[used[duplicates(places.take(used), distance_angstrom)]] = 0
        self.every_half = self.half

    def carry_directions(self, reach_angstrom):
        carried = carried_directions(self.rows, self.positions_xyz_angstrom, reach_angstrom)
        self.rows = replace(self.rows, prior_directions=carried)


def lobed_map(order):
    """A crown of lobes about z, wider on one side."""
    axis = (np.arange(BOX_PX) - BOX_PX // 2) * PIXEL_ANGSTROM
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    density = np.zeros_like(x)
    for k in range(order):
        angle = 2 * np.pi * k / order
        for height, radius in ((0.0, 30.0), (28.0, 22.0)):
            place = (radius * np.cos(angle + height / 60), radius * np.sin(angle + height / 60), height)
            density += np.exp(-0.5 * ((x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2) / 8**2)
    return torch.tensor(density, dtype=torch.float32)


def worker_of(density, rng, off_angstrom=14.0):
    """Picks beside the particles, by so much along the surface."""
    normals = even_directions(N)
    places = RADIUS * normals
    rotations = z_axis_to(normals, rng.uniform(0, 360, N))
    sideways = np.cross(normals, rng.normal(size=(N, 3)))
    picks = places + off_angstrom * sideways / np.linalg.norm(sideways, axis=1, keepdims=True)
    rows = ParticleRows.of(
        "TS_01", picks, prior_directions=normals, prior_width_deg=np.full(N, 10.0),
        surface=np.ones(N, np.int64),
    )  # fmt: skip
    return SurfaceMemoryWorker(
        None, 1 + np.arange(N) % 2, np.tile(np.eye(3), (N, 1, 1)), np.zeros((N, 3)),
        rows=rows, truth=(density, places, rotations),
    )  # fmt: skip


@pytest.fixture(scope="module")
def found():
    worker = worker_of(lobed_map(4), np.random.default_rng(2))
    reported = []
    return worker, map_on_surfaces(worker, SETTINGS, np.random.default_rng(5), reported.append), reported


def test_places_are_found_along_the_surface(found):
    worker, made, reported = found
    _, places, _ = worker.truth
    # A common shift along the normals is free.
    error = worker.positions_xyz_angstrom - places
    along = (
        error - (error * worker.rows.prior_directions).sum(1, keepdims=True) * worker.rows.prior_directions
    )
    assert np.median(np.linalg.norm(along, axis=1)) < 5.0
    assert made.spacing_angstrom == pytest.approx(
        spacing_angstrom(replace(worker.rows, positions_xyz_angstrom=places)), rel=0.1
    )
    assert tuple(reported) == made.history


def test_azimuths_and_the_symmetry_are_found(found):
    worker, made, _ = found
    assert made.group == "C4"
    assert made.agreement > 0.6
    assert made.likeness.likeness > 0.5
    _, _, true = worker.truth
    group = symmetry_matrices("C4")
    # One turn about z is free.
    errors = [
        np.median(rotations_between(worker.rotations @ rotation_z(float(turn)), true, group))
        for turn in range(0, 90, 3)
    ]
    assert min(errors) < 10.0


@pytest.mark.slow
def test_a_symmetry_that_particles_do_not_have_is_not_given():
    worker = worker_of(lobed_map(3), np.random.default_rng(2))
    made = map_on_surfaces(worker, SETTINGS, np.random.default_rng(5))
    assert made.group == "C1"
    assert made.agreement is not None


def test_halves_agree_where_one_is_the_other_turned():
    density = lobed_map(4)
    turned = turned_map(density, rotation_z(-30.0))
    agreement, azimuth = azimuthal_agreement(density, turned, "C4", 8.0)
    assert azimuth == 30.0
    assert agreement > 0.95
    rng = np.random.default_rng(3)
    noise = [
        symmetrised(torch.tensor(rng.normal(size=(BOX_PX,) * 3), dtype=torch.float32), "C4") for _ in "ab"
    ]
    assert azimuthal_agreement(noise[0], noise[1], "C4", 8.0)[0] < 0.3


def test_the_spacing_is_of_neighbours_in_one_tomogram():
    places = np.array([[0.0, 0, 0], [10, 0, 0], [20, 0, 0]])
    rows = ParticleRows.of("TS_01", places)
    assert spacing_angstrom(rows) == pytest.approx(10.0)
    assert spacing_angstrom(rows.take(np.array([0]))) is None
