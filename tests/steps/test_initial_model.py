"""First maps from nothing: poses agree with the truth up to a rotation, and no symmetry is taken on trust."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import ArrayTable, ParticleRows, Particles
from cryoloom.simulate.particles import ParticleModel
from cryoloom.steps.initial_model import InitialModelParams, initial_model
from makers.context import MemoryContext
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


def test_what_cannot_be_made_is_told():
    rng = np.random.default_rng(3)
    scene = small_scene(lumpy_particle(rng), 6, rng)
    particles = particles_of(scene, rng)
    with pytest.raises(DataUnfitError, match="6 particles are too few for a first map; expected at least 8"):
        initial_model((particles,), InitialModelParams(), MemoryContext())
    with pytest.raises(UserInputError, match="unknown point group"):
        initial_model((particles,), InitialModelParams(symmetry="Q3"), MemoryContext())
