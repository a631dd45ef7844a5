"""First maps from nothing: poses agree with the truth up to a rotation, and no symmetry is taken on trust."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.initial_model.annealing import Annealed, AnnealingRecord, AnnealingSettings
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import ArrayTable, ParticleRows, Particles
from cryoloom.simulate.particles import ParticleModel
from cryoloom.steps.initial_model import (
    InitialModelParams,
    _finer_bands,
    _looked_for,
    _tell_of_starts,
    _with_distinct_orientations,
    initial_model,
)
from makers.context import MemoryContext
from makers.posed_images import BOX_PX, PIXEL_ANGSTROM, MemoryWorker, cube_of, made_images
from makers.small_particles import DIAMETER_ANGSTROM, lumpy_particle, small_scene

PARAMS = {"starts": 1, "resolution_angstrom": 35.0}


def particles_of(scene, rng, jitter=3.0):
    rows = ParticleRows.of(
        scene.series.name, scene.positions_xyz_angstrom + rng.normal(0, jitter, (len(scene.rotations), 3))
    )
    return Particles(
        scene.series.name, ArrayTable(rows.columns()), (scene.series,), diameter_angstrom=DIAMETER_ANGSTROM
    )


def errors_up_to_one_rotation(found, true, group=None):
    """Angles to the truth after the rotation of the reference that suits most."""
    relative = np.swapaxes(found, 1, 2) @ true
    apart = np.array([rotations_between(found @ one, true, group) for one in relative])
    best = relative[np.argmin(np.median(apart, axis=1))]
    near = np.flatnonzero(rotations_between(found @ best, true, group) < 25)
    if group is None and len(near) > 2:
        best = Rotation.from_matrix(relative[near]).mean().as_matrix()
    return rotations_between(found @ best, true, group)


def test_a_first_map_from_nothing():
    rng = np.random.default_rng(3)
    scene = small_scene(lumpy_particle(rng), 16, rng)
    context = MemoryContext()
    given = initial_model((particles_of(scene, rng),), InitialModelParams(**PARAMS), context)
    (placed,) = given.others["particles"]
    rows = placed.rows()
    error = errors_up_to_one_rotation(rows.rotations, scene.rotations[rows.particle - 1])
    # The grid's step is 15 degrees.
    assert np.median(error) < 12
    assert (error < 20).mean() > 0.8
    assert placed.template is given.main
    assert given.main.resolution_angstrom is None
    assert placed.common_reference == "one first map"
    assert context.figures["n_effective"] < 3
    assert len(context.records["axes"]) == 7


@pytest.fixture(scope="module")
def fourfold():
    """A particle with a four-fold axis along z."""
    rng = np.random.default_rng(12)
    lumps = np.array([[38.0, 12.0, 20.0], [30.0, -4.0, -28.0], [14.0, 8.0, 46.0]])
    points = np.concatenate([lump + rng.normal(0, 6, (60, 3)) for lump in lumps])
    every = np.concatenate([points @ turn.T for turn in symmetry_matrices("C4")])
    model = ParticleModel("fourfold", every.astype(np.float32), np.full(len(every), 8.0, np.float32))
    return small_scene(model, 24, rng)


@pytest.fixture(scope="module")
def round_images():
    """Images of a ball with a finely ribbed four-fold surface, and its orientations: a shell if coarse."""
    rng = np.random.default_rng(8)
    axis = np.arange(BOX_PX) - BOX_PX // 2
    z, y, x = (values * PIXEL_ANGSTROM for values in np.meshgrid(axis, axis, axis, indexing="ij"))
    radius = np.sqrt(x**2 + y**2 + z**2)
    ribs = np.cos(4 * np.arctan2(y, x) + 0.08 * z) * np.hypot(x, y) / np.maximum(radius, 1.0)
    density = np.exp(-0.5 * ((radius - 40.0) / 9.0) ** 2) * (1.0 + 0.7 * ribs)
    true = Rotation.random(16, rng).as_matrix()
    images = made_images(
        cube_of(torch.tensor(density, dtype=torch.float32)), true, np.zeros((16, 3)), 60.0, rng
    )
    return images, true


def coarse_map(round_images):
    """A shell, and poses that are 10 degrees off."""
    images, true = round_images
    rng = np.random.default_rng(3)
    off = Rotation.from_rotvec(rng.normal(0, np.deg2rad(6), (len(true), 3))).as_matrix()
    worker = MemoryWorker(images, 1 + np.arange(len(true)) % 2, true @ off, np.zeros((len(true), 3)))
    settings = AnnealingSettings(130.0, 40.0, 40.0, shift_range_angstrom=8.0, step_deg=24.0)
    layout = worker.layout(40.0)
    ball = torch.tensor(np.asarray(made_ball()), dtype=torch.float32)
    last = AnnealingRecord(-1, 1.0, 40.0, 60.0, 0.0)
    return Annealed(ball, None, PIXEL_ANGSTROM, layout, (0.0,), (last,)), worker, settings


def looked_for(round_images, group, **more):
    """A coarse map, taken to where the group shows."""
    made, worker, settings = coarse_map(round_images)
    context = MemoryContext()
    params = InitialModelParams(symmetry=group, **more)
    return _looked_for(made, worker, params, settings, context), context


def test_particles_that_a_map_does_not_tell_apart_are_taken_to_finer_detail(round_images):
    made, worker, settings = coarse_map(round_images)
    context = MemoryContext()
    found = _with_distinct_orientations(made, worker, InitialModelParams(), settings, context)
    # At 26 A a particle has one orientation, or few equal ones.
    assert [record.band_angstrom for record in found.history] == pytest.approx([40.0] + [26.0] * 3)
    assert found.history[-1].n_effective < 3
    assert context.records["axes"][2]["group"] == "C4"
    assert context.records["axes"][2]["likeness"] > 0.5
    one = AnnealingRecord(-1, 1.0, 40.0, 1.1, 0.0)
    certain = replace(made, history=(one,))
    assert _with_distinct_orientations(certain, worker, InitialModelParams(), settings, context) is certain


def made_ball():
    axis = (np.arange(BOX_PX) - BOX_PX // 2) * PIXEL_ANGSTROM
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.exp(-0.5 * ((np.sqrt(x**2 + y**2 + z**2) - 40.0) / 9.0) ** 2)


def test_a_symmetry_that_does_not_show_is_looked_for_at_finer_detail(round_images):
    (made, settings, found), context = looked_for(round_images, "C4")
    assert found.is_seen
    assert found.likeness > 0.5
    assert np.abs(found.rotation[2, 2]) > np.cos(np.deg2rad(8))
    # A fifth of the diameter is the first finer detail.
    assert settings.last_band_angstrom == pytest.approx(26.0)
    assert [row["detail_angstrom"] for row in context.records["axes"]] == [40.0, 26.0]
    assert [record.band_angstrom for record in made.history[1:]] == [pytest.approx(26.0)] * 3
    assert not context.warnings


def test_no_finer_detail_than_a_user_asked_for(round_images):
    (made, settings, found), context = looked_for(round_images, "C4", resolution_angstrom=40.0)
    assert not found.is_seen
    assert len(made.history) == 1
    assert settings.last_band_angstrom == 40.0
    assert "looked for at a detail of 40 A, turned" in context.warnings[0]


@pytest.mark.slow
def test_a_symmetry_that_shows_at_no_detail_is_refused(round_images):
    (_, settings, found), context = looked_for(round_images, "C5")
    assert not found.is_seen
    # 2.5 pixels.
    assert settings.last_band_angstrom == pytest.approx(20.0)
    (warning,) = context.warnings
    assert "does not have the symmetry C5: looked for at a detail of 40, 26, 20 A" in warning


@pytest.mark.parametrize(
    ("diameter", "first", "pixel", "expected"),
    [
        (120.0, 25.0, 2.7, [16.8, 15.0]),
        (120.0, 25.0, 8.0, [20.0]),
        (400.0, 60.0, 2.7, [44.0]),
        (80.0, 25.0, 2.7, [16.0]),
    ],
)
def test_finer_details_follow_diameter_and_pixel(diameter, first, pixel, expected):
    settings = AnnealingSettings(diameter, 2 * first, first)
    assert _finer_bands(settings, pixel) == pytest.approx(expected)


@pytest.mark.slow
def test_a_symmetry_is_found_and_the_map_turned_to_its_frame(fourfold):
    context = MemoryContext()
    particles = particles_of(fourfold, np.random.default_rng(1))
    given = initial_model((particles,), InitialModelParams(symmetry="C4", **PARAMS), context)
    assert given.main.symmetry == "C4"
    rows = given.others["particles"][0].rows()
    true = fourfold.rotations[rows.particle - 1]
    # Only a turn about the axis is free.
    tilt = np.rad2deg(np.arccos(np.clip(np.abs((rows.rotations[:, :, 2] * true[:, :, 2]).sum(1)), 0, 1)))
    assert np.median(tilt) < 10
    density = np.asarray(given.main.map)
    turned = np.roll(np.rot90(density, axes=(1, 2)), 1, axis=1)
    assert np.corrcoef(density[1:, 1:, 1:].ravel(), turned[1:, 1:, 1:].ravel())[0, 1] > 0.95


@pytest.mark.slow
def test_a_symmetry_the_map_does_not_have_is_refused(fourfold):
    context = MemoryContext()
    particles = particles_of(fourfold, np.random.default_rng(1))
    given = initial_model((particles,), InitialModelParams(symmetry="C5", **PARAMS), context)
    assert given.main.symmetry == "C1"
    assert any("does not have the symmetry C5" in warning for warning in context.warnings)
    assert given.others["particles"][0].rows().n == len(fourfold.rotations)


def test_what_cannot_be_made_is_reported():
    rng = np.random.default_rng(3)
    scene = small_scene(lumpy_particle(rng), 6, rng)
    particles = particles_of(scene, rng)
    with pytest.raises(DataUnfitError, match="6 particles are too few for a first map; expected at least 8"):
        initial_model((particles,), InitialModelParams(), MemoryContext())
    with pytest.raises(UserInputError, match="unknown point group"):
        initial_model((particles,), InitialModelParams(symmetry="Q3"), MemoryContext())


@pytest.mark.parametrize(
    ("agreement", "n_starts", "warning"),
    [(0.9, 3, None), (0.1, 3, "agrees in 0.10 of them"), (None, 1, "there was one start")],
)
def test_starts_that_place_particles_differently_are_said(agreement, n_starts, warning):
    """Equal likelihoods are no agreement: false maxima explain the particles alike."""
    made = Annealed(None, None, 5.0, None, (941.0,) * n_starts, (), agreement)
    context = MemoryContext()
    _tell_of_starts(made, context)
    assert context.figures.get("agreement_of_starts") == agreement
    assert bool(context.warnings) == (warning is not None)
    if warning:
        assert warning in context.warnings[0]
        assert "may be a false maximum" in context.warnings[0]
