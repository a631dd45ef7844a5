"""Particles determine their poses exactly if left-out tilts agree with the poses that the others find."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.maps import map_on_grid
from cryoloom.algorithms.averaging.refinement import reference_scale
from cryoloom.geometry.orientation_grid import even_directions
from cryoloom.model import ParticleRows
from cryoloom.procedures.particle_passes import SeriesWorker
from cryoloom.procedures.pose_support import PoseSupport, _some, pose_support
from cryoloom.simulate.particles import ParticleModel
from makers.context import MemoryContext
from makers.particle_scene import true_map
from makers.small_particles import DIAMETER_ANGSTROM, lumpy_particle, small_scene


@pytest.fixture(autouse=True)
def coarse_grid(monkeypatch):
    """Fewer orientations than in use; refinement is not part of this."""
    monkeypatch.setattr("cryoloom.procedures.pose_support._STEP_DEG", 22.0)


def as_refined(images_of: ParticleModel, average: ParticleModel, n: int, rng: np.random.Generator, *, turns):
    """A worker with images of one particle, rotated by some more, and halves that show another."""
    scene = small_scene(images_of, n, rng, shape_yx=(256, 256))
    rows = ParticleRows.of(scene.series.name, scene.positions_xyz_angstrom, rotations=scene.rotations @ turns)
    worker = SeriesWorker(
        MemoryContext(), (scene.series,), replace(rows, half=1 + np.arange(n) % 2), DIAMETER_ANGSTROM
    )
    layout = worker.layout(30.0)
    worker.extract(layout)
    pixel = layout.pixel_size_angstrom
    density = map_on_grid(true_map(average, 48, 5.0), 5.0, layout.crop_px, pixel)
    density = density * reference_scale(worker, density, 30.0)
    # Both halves with a little noise of their own.
    halves = [density + float(density.std()) * 0.1 * torch.randn(density.shape) for _ in range(2)]
    refined = SimpleNamespace(
        map=density, voxel_angstrom=pixel, band_angstrom=30.0, halves=(halves[0], halves[1])
    )
    return worker, refined


def shell(*, is_spotted: bool) -> ParticleModel:
    """A smooth shell looks the same from every side; a spotted one is denser about four directions."""
    points = even_directions(4000)
    spots = np.array([[1.0, 0.2, 0.3], [-0.5, 0.8, 0.4], [0.1, -0.7, 0.7], [-0.4, -0.2, -0.9]])
    spots /= np.linalg.norm(spots, axis=1, keepdims=True)
    weights = 1.0 + is_spotted * 2.0 * (points @ spots.T > 0.85).any(axis=1)
    return ParticleModel("shell", (50.0 * points).astype(np.float32), weights.astype(np.float32))


def test_particles_like_the_average_determine_their_poses(rng):
    model = lumpy_particle(rng)
    worker, refined = as_refined(model, model, 10, rng, turns=np.eye(3))
    before = worker.rows, worker.kept_poses()
    found = pose_support(worker, refined, "C1", DIAMETER_ANGSTROM, rng, about_axis=False)
    assert found.is_seen
    assert 0.7 < found.share < 1.3
    assert worker.rows.half is before[0].half
    np.testing.assert_array_equal(worker.kept_poses()[1], before[1][1])


def test_the_present_rotations_have_no_part_in_it(rng):
    """Wrong rotations of particles like the average are no fault of theirs, and right ones prove nothing."""
    model = lumpy_particle(rng)
    worker, refined = as_refined(model, model, 10, rng, turns=Rotation.random(10, rng).as_matrix())
    assert pose_support(worker, refined, "C1", DIAMETER_ANGSTROM, rng, about_axis=False).is_seen


@pytest.mark.parametrize("about_axis", [False, True])
def test_smooth_shells_do_not(rng, about_axis):
    worker, refined = as_refined(shell(is_spotted=False), shell(is_spotted=True), 10, rng, turns=np.eye(3))
    found = pose_support(worker, refined, "C1", DIAMETER_ANGSTROM, rng, about_axis=about_axis)
    assert not found.is_seen


def test_particles_with_a_direction_determine_their_azimuths(rng):
    model = lumpy_particle(rng)
    worker, refined = as_refined(model, model, 10, rng, turns=np.eye(3))
    found = pose_support(worker, refined, "C1", DIAMETER_ANGSTROM, rng, about_axis=True)
    assert found.is_seen


def test_some_particles_of_few_series(rng):
    names = np.array(["A"] * 50 + ["B"] * 50 + ["C"] * 50)
    series = tuple(SimpleNamespace(name=name) for name in "ABC")
    half = 1 + np.arange(150) % 2
    worker = SimpleNamespace(series=series, half=half, rows=SimpleNamespace(tomogram=names))
    chosen = _some(worker, rng)
    assert [np.count_nonzero(chosen == one) for one in (1, 2)] == [20, 20]
    assert len(set(names[chosen > 0])) == 1
    assert (chosen[chosen > 0] == half[chosen > 0]).all()


def test_too_few_particles_are_not_judged(rng):
    worker = SimpleNamespace(
        series=(SimpleNamespace(name="A"),),
        half=np.array([1, 2, 2]),
        rows=SimpleNamespace(tomogram=np.array(["A"] * 3)),
    )
    assert pose_support(worker, None, "C1", 100.0, rng, about_axis=False) is None


@pytest.mark.parametrize(
    ("share", "deviations", "seen"), [(0.9, 8.0, True), (0.9, 1.0, False), (0.1, 9.0, False)]
)
def test_support_counts_if_it_is_large_and_certain(share, deviations, seen):
    assert PoseSupport(share, deviations).is_seen == seen
