"""Refinement on simulated particles: poses agree with the truth, and nothing is claimed without it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.model import ArrayTable, Average, ParticleRows, Particles
from cryoloom.procedures.particle_passes import joined_particles
from cryoloom.steps.refine import RefineParams, _warn_of_neighbours, refine
from makers.context import MemoryContext
from makers.particle_scene import true_map
from makers.small_particles import DIAMETER_ANGSTROM, lumpy_particle, small_scene


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(3)
    model = lumpy_particle(rng)
    made = small_scene(model, 16, rng)
    return model, made


def picked(model, scene, rng, jitter=4.0) -> Particles:
    rows = ParticleRows.of(
        scene.series.name, scene.positions_xyz_angstrom + rng.normal(0, jitter, (len(scene.rotations), 3))
    )
    template = Average("truth", true_map(model, 40, 6.0), 6.0)
    return Particles(
        scene.series.name,
        ArrayTable(rows.columns()),
        (scene.series,),
        diameter_angstrom=DIAMETER_ANGSTROM,
        template=template,
    )


def test_poses_are_found_from_a_blurred_map(scene):
    model, made = scene
    context = MemoryContext()
    particles = picked(model, made, np.random.default_rng(5))
    params = RefineParams(angular_step_deg=20.0, finest_resolution_angstrom=20.0, max_iterations=5)
    given = refine((particles,), params, context)
    (refined,) = given.others["particles"]
    rows = refined.rows()
    assert rows.n == len(made.rotations)
    order = rows.particle - 1
    # Nothing but the first map says how the average as a whole is turned: it may turn with all its particles.
    together = Rotation.from_matrix(np.swapaxes(rows.rotations, 1, 2) @ made.rotations[order]).mean()
    wrong = rotations_between(rows.rotations @ together.as_matrix(), made.rotations[order])
    moved = np.linalg.norm(rows.positions_xyz_angstrom - made.positions_xyz_angstrom[order], axis=1)
    assert np.rad2deg(together.magnitude()) < 6
    assert np.median(wrong) < 1.5
    assert wrong.max() < 5
    assert np.median(moved) < 1.5
    average = given.main
    assert average.n_particles == rows.n
    assert average.resolution_angstrom is not None
    assert context.figures["pose_evidence"] > context.figures["null_evidence"] + 0.2
    assert {curve.name for curve in average.curves} >= {"masked", "non-radial", "null"}
    # Poses from even and odd tilts are as far apart as their errors say; so are they from the truth.
    assert context.figures["split_angle_deg"] == pytest.approx(np.median(wrong), rel=1.0)
    assert context.figures["split_shift_angstrom"] == pytest.approx(np.median(moved), rel=1.0)
    tilts = context.records["tilts"]
    assert len(tilts) == len(made.series.tilts)
    assert np.median([tilt["scale"] for tilt in tilts]) == pytest.approx(1.0, abs=0.15)


@pytest.mark.slow
def test_images_without_particles_get_no_resolution(scene):
    model, made = scene
    rng = np.random.default_rng(8)
    nowhere = {"positions": np.zeros((0, 3)), "rotations": np.zeros((0, 3, 3))}
    empty = small_scene(model, 0, rng, **nowhere)
    rows = ParticleRows.of(empty.series.name, made.positions_xyz_angstrom)
    template = Average("truth", true_map(model, 40, 6.0), 6.0)
    particles = Particles(
        empty.series.name, ArrayTable(rows.columns()), (empty.series,), diameter_angstrom=DIAMETER_ANGSTROM,
        template=template,
    )  # fmt: skip
    context = MemoryContext()
    params = RefineParams(angular_step_deg=25.0, finest_resolution_angstrom=20.0, max_iterations=3)
    average = refine((particles,), params, context).main
    # The halves share what is coarser than 40 A.
    assert average.resolution_angstrom is None or average.resolution_angstrom > 40.0


def test_what_cannot_be_refined_is_told(scene, context):
    model, made = scene
    particles = picked(model, made, np.random.default_rng(5))
    few = ParticleRows.of(made.series.name, made.positions_xyz_angstrom[:2])
    two = Particles(
        "TS_1", ArrayTable(few.columns()), (made.series,), diameter_angstrom=DIAMETER_ANGSTROM,
        template=particles.template,
    )  # fmt: skip
    with pytest.raises(DataUnfitError, match="2 particles are too few"):
        refine((two,), RefineParams(), context)
    with pytest.raises(UserInputError, match="point group"):
        refine((particles,), RefineParams(symmetry="X9"), context)
    without = Particles("TS_1", particles.table, (made.series,), diameter_angstrom=DIAMETER_ANGSTROM)
    with pytest.raises(UserInputError, match="no first map"):
        refine((without,), RefineParams(), context)
    unaligned = made.series.with_tilts({t.acquisition_index: {"pose": None} for t in made.series.tilts})
    with pytest.raises(DataUnfitError, match="run align_series"):
        refine((Particles("TS_1", particles.table, (unaligned,), diameter_angstrom=DIAMETER_ANGSTROM,
                          template=particles.template),), RefineParams(), context)  # fmt: skip


def test_a_set_without_particles_is_refused_in_one_sentence():
    with pytest.raises(
        DataUnfitError, match="there are no particles to average; tomograms without picks: none"
    ):
        joined_particles(())


@pytest.mark.parametrize(
    ("diameter_angstrom", "on_surfaces", "warns"),
    [(200.0, True, True), (120.0, True, False), (200.0, False, False)],
)
def test_neighbours_within_the_mask_of_particles_on_surfaces_are_said(diameter_angstrom, on_surfaces, warns):
    """A lattice of 80 A: a mask of 200 A holds its neighbours, one of 120 A a part of them."""
    y, x = np.mgrid[0:5, 0:6]
    places = 80.0 * np.stack([x.ravel(), y.ravel(), np.zeros(30)], axis=1)
    normals = np.tile([0.0, 0.0, 1.0], (30, 1)) if on_surfaces else None
    rows = SimpleNamespace(tomogram=np.array(["TS_01"] * 15 + ["TS_02"] * 15), prior_directions=normals)
    worker = SimpleNamespace(rows=rows, half=np.ones(30, int), positions_xyz_angstrom=places)
    context = MemoryContext()
    _warn_of_neighbours(worker, diameter_angstrom, context)
    assert bool(context.warnings) == warns
    if warns:
        assert "80 A apart" in context.warnings[0]
        assert "diameter_angstrom=120" in context.warnings[0]
