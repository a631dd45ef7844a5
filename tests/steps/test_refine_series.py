"""Series made wrong by known amounts become right again, and noise changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import ArrayTable, Average, ParticleRows, Particles
from cryoloom.steps.reconstruct_particle import ReconstructParticleParams, reconstruct_particle
from cryoloom.steps.refine_series import RefineSeriesParams, refine_series
from makers.context import MemoryContext
from makers.particle_scene import true_map
from makers.perturbed_series import perturbed, residual_rms_angstrom
from makers.small_particles import DIAMETER_ANGSTROM, lumpy_particle, small_scene

RIGID = RefineSeriesParams(warp_controls=0, magnification=False, rounds=1, max_shift_angstrom=15.0)


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(4)
    model = lumpy_particle(rng)
    return model, small_scene(model, 24, rng, noise=0.5)


def particles_of(scene, series=None) -> Particles:
    n = len(scene.rotations)
    rows = ParticleRows.of(
        "TS_1",
        scene.positions_xyz_angstrom,
        rotations=scene.rotations,
        half=1 + np.arange(n) % 2,
    )
    table = ArrayTable(rows.columns())
    return Particles("TS_1", table, (series or scene.series,), diameter_angstrom=DIAMETER_ANGSTROM)


def averaged(particles) -> Average:
    params = ReconstructParticleParams(finest_resolution_angstrom=18.0)
    return reconstruct_particle((particles,), params, MemoryContext())


def defocus_errors(particles, scene):
    return np.array(
        [
            found.ctf.defocus_angstrom - true.ctf.defocus_angstrom
            for found, true in zip(particles.series[0].tilts, scene.series.tilts, strict=True)
        ]
    )


def test_shifts_and_angles_return_and_then_the_defocus(scene):
    _, made = scene
    rng = np.random.default_rng(11)
    wrong = perturbed(made.series, rng, shift=4.0, tilt=0.2, defocus=1200.0)
    given, exact = particles_of(made, wrong), particles_of(made)
    context = MemoryContext()
    params = RIGID.model_copy(update={"max_defocus_change_angstrom": 3000.0})
    found = refine_series(given, params, context, average_from=averaged(given))
    before, after = residual_rms_angstrom(given, exact), residual_rms_angstrom(found.main, exact)
    assert before > 4.0
    assert after < 0.15 * before
    assert context.figures["held_out_gain_nats"] > 50
    used = {row["group"] for row in context.records["groups"] if row["decision"] == "used"}
    assert "image shifts" in used
    assert len(context.records["tilts"]) == len(made.series.tilts)
    assert found.others["series"] == found.main.series
    # Images stay, so what follows reads the same pixels with the new geometry.
    assert found.main.series[0].stack is wrong.stack
    # The average is of the former geometry: the defocus waits.
    assert np.allclose(defocus_errors(found.main, made), defocus_errors(given, made))
    assert "once more" in context.warnings[-1]
    again = refine_series(found.main, params, MemoryContext(), average_from=averaged(found.main)).main
    assert residual_rms_angstrom(again, exact) < 0.15 * before
    assert np.std(defocus_errors(again, made)) < 0.4 * np.std(defocus_errors(given, made))


def test_a_series_that_is_right_stays_as_it_is(scene):
    _, made = scene
    exact = particles_of(made)
    context = MemoryContext()
    found = refine_series(exact, RefineSeriesParams(rounds=1), context, average_from=averaged(exact)).main
    assert residual_rms_angstrom(found, exact) < 0.6


def test_noise_changes_nothing(scene):
    model, made = scene
    rng = np.random.default_rng(12)
    nowhere = {"positions": np.zeros((0, 3)), "rotations": np.zeros((0, 3, 3))}
    empty = small_scene(model, 0, rng, **nowhere)
    given = particles_of(made, empty.series)
    average = averaged(given)
    context = MemoryContext()
    # Noise has no resolution: nothing is even tried.
    assert refine_series(given, RIGID, context, average_from=average).main is given
    assert "no resolution" in context.warnings[0]
    # Where it is claimed all the same, particles left out do not agree better.
    claimed = replace(
        average, resolution_angstrom=20.0, curves=(), map=true_map(model, 40, 6.0),
        half1=true_map(model, 40, 6.0), half2=true_map(model, 40, 6.0), mask=None, voxel_size_angstrom=6.0,
    )  # fmt: skip
    context = MemoryContext()
    found = refine_series(given, RIGID, context, average_from=claimed).main
    assert found.series == given.series
    assert context.records["groups"]
    assert not any(row["decision"] == "used" for row in context.records["groups"])


def test_what_cannot_be_refined_is_reported(scene, context):
    model, made = scene
    density = true_map(model, 40, 6.0)
    average = Average(
        "all", density, 6.0, half1=density, half2=density, resolution_angstrom=20.0,
        diameter_angstrom=DIAMETER_ANGSTROM,
    )  # fmt: skip
    rows = ParticleRows.of("TS_1", made.positions_xyz_angstrom, rotations=made.rotations)
    unsplit = Particles("TS_1", ArrayTable(rows.columns()), (made.series,))
    with pytest.raises(DataUnfitError, match="have no halves"):
        refine_series(unsplit, RIGID, context, average_from=average)
    few = replace(rows, half=1 + np.arange(rows.n) % 2).take(np.arange(6))
    small = Particles("TS_1", ArrayTable(few.columns()), (made.series,))
    assert refine_series(small, RIGID, context, average_from=average).main.series == (made.series,)
    assert "6 particles are too few" in context.warnings[-1]
    whole = replace(average, half1=None)
    assert refine_series(unsplit, RIGID, context, average_from=whole).main is unsplit
    assert "has no halves" in context.warnings[-1]
    broken = replace(average, half1=np.full((40, 40, 40), np.nan, np.float32))
    with pytest.raises(DataUnfitError, match="finite"):
        refine_series(particles_of(made), RIGID, context, average_from=broken)
