"""Particles choose among equivalent poses exactly if they lack the symmetry that was imposed."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cryoloom.algorithms.averaging.maps import map_on_grid
from cryoloom.algorithms.averaging.reconstruction import symmetrised
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import ParticleRows
from cryoloom.procedures.particle_passes import SeriesWorker
from cryoloom.procedures.relaxed_symmetry import Asymmetry, asymmetry
from cryoloom.simulate.particles import ParticleModel
from makers.context import MemoryContext
from makers.particle_scene import true_map
from makers.small_particles import DIAMETER_ANGSTROM, lumpy_particle, small_scene

GROUP = "C4"


def as_refined(model: ParticleModel, n: int, rng: np.random.Generator, **more: object):
    """A worker whose particles have any of their equivalent poses, and the symmetric average of them."""
    scene = small_scene(model, n, rng, **more)
    operators = symmetry_matrices(GROUP)
    rows = ParticleRows.of(
        scene.series.name,
        scene.positions_xyz_angstrom,
        rotations=scene.rotations @ operators[rng.integers(0, len(operators), n)],
    )
    worker = SeriesWorker(
        MemoryContext(), (scene.series,), replace(rows, half=1 + np.arange(n) % 2), DIAMETER_ANGSTROM
    )
    layout = worker.layout(25.0)
    worker.extract(layout)
    pixel = layout.pixel_size_angstrom
    density = map_on_grid(true_map(model, 48, 5.0), 5.0, layout.crop_px, pixel)
    average = symmetrised(density, GROUP)
    return worker, SimpleNamespace(
        map=average, voxel_angstrom=pixel, band_angstrom=25.0, references=(average, average)
    )


def test_particles_without_the_symmetry_choose(rng):
    worker, refined = as_refined(lumpy_particle(rng), 16, rng)
    before = (worker.rows, worker.kept_poses())
    found = asymmetry(worker, refined, GROUP, DIAMETER_ANGSTROM, rng)
    assert found.is_seen
    assert found.share > 0.3
    # The refinement's poses stay.
    np.testing.assert_array_equal(worker.half, before[0].half)
    np.testing.assert_array_equal(worker.kept_poses()[0], before[1][0])


def fourfold(rng: np.random.Generator) -> ParticleModel:
    """Lumps with the symmetry."""
    lumps = np.array([[38.0, 12.0, 20.0], [30.0, -4.0, -28.0], [14.0, 8.0, 46.0]])
    points = np.concatenate([lump + rng.normal(0, 6, (60, 3)) for lump in lumps])
    every = np.concatenate([points @ turn.T for turn in symmetry_matrices(GROUP)])
    return ParticleModel("fourfold", every.astype(np.float32), np.full(len(every), 8.0, np.float32))


def test_particles_with_the_symmetry_have_nothing_to_choose(rng):
    worker, refined = as_refined(fourfold(rng), 16, rng)
    found = asymmetry(worker, refined, GROUP, DIAMETER_ANGSTROM, rng)
    assert not found.is_seen
    assert abs(found.share) < 0.05


def test_a_wide_wedge_is_no_choice(rng):
    """Images that reach the same frequencies agree about the others; apoferritin from movies gained 0.15."""
    worker, refined = as_refined(fourfold(rng), 32, rng, tilts_deg=np.arange(-20.0, 21.0, 4.0))
    found = asymmetry(worker, refined, GROUP, DIAMETER_ANGSTROM, rng)
    assert not found.is_seen
    assert abs(found.share) < 0.05


def test_without_symmetry_or_passes_or_particles_there_is_nothing_to_try(rng):
    worker = SimpleNamespace(half=np.array([1, 2, 2]))
    refined = SimpleNamespace(references=None)
    assert asymmetry(worker, refined, GROUP, 100.0, rng) is None
    some = SimpleNamespace(references=(torch.zeros(1),) * 2)
    assert asymmetry(worker, some, "C1", 100.0, rng) is None


@pytest.mark.parametrize(
    ("share", "deviations", "seen"), [(0.5, 6.0, True), (0.5, 3.0, False), (0.02, 9.0, False)]
)
def test_a_choice_counts_if_it_is_large_and_certain(share, deviations, seen):
    assert Asymmetry(share, deviations).is_seen == seen
