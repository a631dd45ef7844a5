"""Refinement on simulated particles: poses agree with the truth, and nothing is claimed without it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.evaluation import Verdict
from cryoloom.algorithms.averaging.refinement import Refined
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import ArrayTable, Average, ParticleRows, Particles
from cryoloom.procedures.particle_passes import joined_particles
from cryoloom.procedures.pose_support import PoseSupport
from cryoloom.procedures.relaxed_symmetry import Asymmetry
from cryoloom.steps.postprocess import PostprocessParams, postprocess
from cryoloom.steps.reconstruct_particle import ReconstructParticleParams, reconstruct_particle
from cryoloom.steps.refine import (
    RefineParams,
    _about_standard_axes,
    _extent,
    _warn_of_split,
    _without_asymmetry,
    _without_neighbours,
    _without_support,
    refine,
)
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
    before = picked(model, made, np.random.default_rng(5))
    particles = replace(before, pose_doubt="an earlier refinement found nothing")
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
    assert average.pose_doubt == refined.pose_doubt == ""
    assert context.figures["pose_evidence"] > context.figures["null_evidence"] + 0.2
    assert {curve.name for curve in average.curves} >= {"masked", "non-radial", "null"}
    # Poses from even and odd tilts are as far apart as their errors say; so are they from the truth.
    assert context.figures["split_angle_deg"] == pytest.approx(np.median(wrong), rel=1.0)
    assert context.figures["split_shift_angstrom"] == pytest.approx(np.median(moved), rel=1.0)
    tilts = context.records["tilts"]
    assert len(tilts) == len(made.series.tilts)
    assert np.median([tilt["scale"] for tilt in tilts]) == pytest.approx(1.0, abs=0.15)


def test_later_steps_take_over_that_no_resolution_is_given(scene, monkeypatch):
    model, made = scene
    monkeypatch.setattr("cryoloom.steps.refine.pose_support", lambda *_, **__: PoseSupport(0.05, 0.4))
    particles = picked(model, made, np.random.default_rng(5))
    params = RefineParams(angular_step_deg=20.0, finest_resolution_angstrom=20.0, max_iterations=5)
    given = refine((particles,), params, MemoryContext())
    (refined,) = given.others["particles"]
    said = "do not determine their orientations"
    assert said in refined.pose_doubt
    assert said in given.main.pose_doubt
    assert postprocess(given.main, PostprocessParams(), MemoryContext()).resolution_angstrom is None
    few = ReconstructParticleParams(finest_resolution_angstrom=20.0)
    context = MemoryContext()
    average = reconstruct_particle((refined,), few, context)
    assert average.resolution_angstrom is None
    assert said in average.resolution_note
    assert said in context.reasons_not_measurable["resolution_angstrom"]
    assert any(said in warning for warning in context.warnings)
    sharpened = postprocess(average, PostprocessParams(), MemoryContext())
    assert sharpened.resolution_angstrom is None
    assert said in sharpened.resolution_note
    assert sharpened.pose_doubt == refined.pose_doubt
    # Of imported poses nothing is known: the halves decide.
    imported = replace(refined, pose_doubt="")
    assert reconstruct_particle((imported,), few, MemoryContext()).resolution_angstrom is not None


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


def test_what_cannot_be_refined_is_reported(scene, context):
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


def test_a_template_about_other_axes_turns_with_the_poses():
    """Every particle's density stays where it is."""
    rng = np.random.default_rng(6)
    lumps = np.array([[45.0, 0.0, 12.0], [30.0, 25.0, -20.0], [20.0, -5.0, 35.0]])
    operators = symmetry_matrices("C3")
    turn = Rotation.from_euler("zyx", [20.0, 30.0, 15.0], degrees=True).as_matrix()
    off = np.array([12.0, -6.0, 9.0])

    def density(frame, centre):
        points = np.concatenate([lumps @ (frame @ operator).T for operator in operators]) + centre
        axis = 5.0 * (np.arange(40) - 20)
        z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
        return sum(np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * 9.0**2)) for a, b, c in points)

    rows = ParticleRows.of(
        "TS_1", rng.normal(0, 100, (5, 3)), rotations=Rotation.random(5, random_state=1).as_matrix()
    )
    template, context = torch.tensor(density(turn, off), dtype=torch.float32), MemoryContext()
    settings = (5.0, rows, "C3", 130.0)
    found, moved = _about_standard_axes(template, *settings, RefineParams(), context)
    assert len(context.warnings) == 1
    assert "poses" in context.warnings[0]
    # The axis, and what is left free: the turn about it and the place along it.
    axes = moved.rotations[:, :, 2]
    assert np.abs(np.sum(axes * (rows.rotations @ turn[:, 2]), axis=1)).min() > np.cos(np.deg2rad(1.0))
    apart = moved.positions_xyz_angstrom - (rows.positions_xyz_angstrom + rows.rotations @ off)
    assert np.linalg.norm(np.cross(apart, axes), axis=1).max() < 1.5
    frame = rows.rotations[0].T @ moved.rotations[0]
    centre = rows.rotations[0].T @ (moved.positions_xyz_angstrom - rows.positions_xyz_angstrom)[0]
    expected = density(frame.T @ turn, frame.T @ (off - centre))
    assert np.abs(found.numpy() - expected)[5:-5, 5:-5, 5:-5].max() < 0.05
    # Of a map given besides it is not known how poses would turn with it.
    with pytest.raises(UserInputError, match="does not have the symmetry C3"):
        _about_standard_axes(template, *settings, RefineParams(reference="given.mrc"), context)
    again, same = _about_standard_axes(found, 5.0, moved, "C3", 130.0, RefineParams(), MemoryContext())
    assert again is found
    assert same is moved


def test_a_set_without_particles_is_refused_in_one_sentence():
    with pytest.raises(
        DataUnfitError, match="there are no particles to average; tomograms without picks: none"
    ):
        joined_particles(())


def lattice_rows(spacing=80.0, surface=True, directions=True):
    y, x = np.mgrid[0:5, 0:6]
    places = spacing * np.stack([x.ravel(), y.ravel(), np.zeros(30)], axis=1)
    rows = ParticleRows.of("TS_01", places, rotations=np.tile(np.eye(3), (30, 1, 1)))
    rows = replace(rows, half=np.ones(30, int))
    if directions:
        rows = replace(rows, prior_directions=np.tile([0.0, 0.0, 1.0], (30, 1)))
    return replace(rows, surface=np.full(30, 1 if surface else -1))


@pytest.mark.parametrize(
    ("given", "spacing", "expected"),
    [
        # The tutorial's mask and low-pass: neighbours lie within, and 60 A shows nothing but them.
        ({"initial_lowpass_angstrom": 60.0}, 80.0, (116.0, 26.68)),
        ({}, 80.0, (116.0, 26.68)),
        ({"initial_lowpass_angstrom": 22.0}, 80.0, (116.0, 22.0)),
        ({"exclude_neighbours": False, "initial_lowpass_angstrom": 60.0}, 80.0, (350.0, 60.0)),
        # Picks that near may be of one particle.
        ({}, 20.0, (350.0, 40.0)),
        ({"initial_lowpass_angstrom": 60.0}, 400.0, (350.0, 60.0)),
        ({}, 400.0, (350.0, 40.0)),
    ],
)
def test_neighbours_on_surfaces_are_outside_of_what_is_aligned(given, spacing, expected):
    context = MemoryContext()
    found = _extent(lattice_rows(spacing), 350.0, 2.7, RefineParams(**given), context)
    assert found == pytest.approx(expected)
    assert bool(context.warnings) == (expected[0] < 350.0)
    if context.warnings:
        assert "particles are 80 A apart" in context.warnings[0]
        assert "aligned and judged within 116 A" in context.warnings[0]


def test_particles_on_no_surface_keep_their_diameter():
    rows = lattice_rows(surface=False)
    assert _extent(rows, 350.0, 2.7, RefineParams(), MemoryContext()) == (350.0, 40.0)


@pytest.mark.parametrize("agreement", [0.2, 0.8])
def test_azimuths_that_neighbours_decided_have_no_resolution(monkeypatch, agreement):
    monkeypatch.setattr("cryoloom.steps.refine.azimuth_agreement", lambda *_: agreement)
    rows = lattice_rows()
    worker = SimpleNamespace(rows=rows, half=rows.half, positions_xyz_angstrom=rows.positions_xyz_angstrom)
    refined = Refined(*[None] * 4, Verdict({}, 13.5, ""), ())
    judged = [
        _without_neighbours(refined, worker, None, 4.0, diameter, "C6", MemoryContext())
        for diameter in (200.0, 120.0)
    ]
    assert judged[1] is refined
    assert (judged[0].verdict.resolution_angstrom is None) == (agreement < 0.5)
    if agreement < 0.5:
        assert "80 A apart" in judged[0].verdict.note
        assert "exclude_neighbours=True" in judged[0].verdict.note


def test_neighbours_of_directed_particles_on_no_surface_are_said():
    rows = lattice_rows(surface=False)
    worker = SimpleNamespace(rows=rows, half=rows.half, positions_xyz_angstrom=rows.positions_xyz_angstrom)
    refined = Refined(*[None] * 4, Verdict({}, 13.5, ""), ())
    context = MemoryContext()
    assert _without_neighbours(refined, worker, None, 4.0, 200.0, "C6", context) is refined
    assert "diameter_angstrom=120" in context.warnings[0]
    free = lattice_rows(directions=False)
    worker = SimpleNamespace(rows=free, half=free.half, positions_xyz_angstrom=free.positions_xyz_angstrom)
    context = MemoryContext()
    assert _without_neighbours(refined, worker, None, 4.0, 200.0, "C6", context) is refined
    assert not context.warnings


@pytest.mark.parametrize(
    ("found", "stays"),
    [
        (Asymmetry(1.2, 6.3), False),
        (Asymmetry(0.137, 3.3), False),  # half of the set was other particles
        (Asymmetry(0.09, 2.5), True),  # a fifth was, and the map was right
        (Asymmetry(0.0, 0.3), True),
        (None, True),
    ],
)
def test_a_symmetry_that_the_particles_lack_has_no_resolution(monkeypatch, found, stays):
    monkeypatch.setattr("cryoloom.steps.refine.asymmetry", lambda *_: found)
    refined = Refined(*[None] * 4, Verdict({}, 12.4, ""), ())
    rows = ParticleRows.of("TS_01", np.zeros((2, 3)))
    worker = SimpleNamespace(rows=rows, half=np.array([1, 2]), positions_xyz_angstrom=np.zeros((2, 3)))
    context = MemoryContext()
    judged = _without_asymmetry(refined, worker, "D4", 130.0, context)
    assert (judged.verdict.resolution_angstrom == 12.4) == stays
    assert context.figures.get("asymmetry") == (found and found.share)
    if not stays:
        assert "do not have the symmetry D4" in judged.verdict.note
        assert f"gain {found.share:.2f}" in judged.verdict.note
        assert "divide them with classify" in judged.verdict.note
    plain = _without_asymmetry(refined, worker, "C1", 130.0, context)
    assert plain is refined
    assert "asymmetry" in context.reasons_not_measurable


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (PoseSupport(0.9, 20.0), ""),
        (PoseSupport(0.51, 7.4), ""),
        (PoseSupport(0.44, 3.9), "divide them with classify"),  # half of the set was other particles
        (PoseSupport(0.05, 0.4), "do not determine their orientations"),
        (None, "too few particles"),
    ],
)
def test_poses_that_separate_tilts_do_not_support_have_no_resolution(monkeypatch, found, said):
    monkeypatch.setattr("cryoloom.steps.refine.pose_support", lambda *_, **__: found)
    refined = Refined(*[None] * 4, Verdict({}, 12.4, ""), ())
    context = MemoryContext()
    rows = ParticleRows.of("TS_1", np.zeros((4, 3)))
    judged = _without_support(refined, SimpleNamespace(rows=rows), "C1", 130.0, context)
    assert (judged.verdict.resolution_angstrom is None) == bool(said)
    assert said in judged.verdict.note
    assert context.figures.get("pose_support") == (found and found.share)
    nothing = replace(refined, verdict=Verdict({}, None, "no"))
    assert _without_support(nothing, SimpleNamespace(rows=rows), "C1", 130.0, context) is nothing


@pytest.mark.parametrize(
    ("split", "computed", "warns"), [(2.9, 0.4, True), (1.8, 0.45, False), (None, 0.4, False)]
)
def test_orientations_that_tilts_do_not_agree_on_are_said(split, computed, warns):
    context = MemoryContext()
    _warn_of_split(split, computed, context)
    assert bool(context.warnings) == warns
    if warns:
        assert "known to 2.9 deg" in context.warnings[0]
        assert "may not determine their orientations" in context.warnings[0]
