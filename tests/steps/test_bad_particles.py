"""Particles and series that cannot be averaged: one clear sentence each, and a warning for every doubt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import CryoloomError
from cryoloom.model import ArrayTable, Average, ParticleRows, Particles, Sourced, Stack
from cryoloom.steps.reconstruct_particle import ReconstructParticleParams, reconstruct_particle
from cryoloom.steps.refine import RefineParams, refine
from makers.context import MemoryContext
from makers.particle_scene import true_map
from makers.small_particles import DIAMETER_ANGSTROM, lumpy_particle, small_scene


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(3)
    model = lumpy_particle(rng)
    made = small_scene(model, 8, rng)
    return made, Average("truth", true_map(model, 40, 6.0), 6.0)


def particles_of(scene, *, series=None, positions=None, name=None):
    made, template = scene
    series = series or made.series
    places = made.positions_xyz_angstrom if positions is None else positions
    rows = ParticleRows.of(name or series.name, places, rotations=made.rotations[: len(places)])
    return Particles(
        name or series.name, ArrayTable(rows.columns()), (series,), diameter_angstrom=DIAMETER_ANGSTROM,
        template=template,
    )  # fmt: skip


def unaligned(scene):
    series = scene[0].series
    return (particles_of(scene, series=without(series, "pose")),)


def without(series, what):
    return series.with_tilts({tilt.acquisition_index: {what: None} for tilt in series.tilts})


def outside(scene):
    return (particles_of(scene, positions=scene[0].positions_xyz_angstrom + np.array([9000.0, 0, 0])),)


def of_another_binning(scene):
    return (particles_of(scene, positions=5.0 * np.sign(scene[0].positions_xyz_angstrom) * 200.0),)


def two_particles(scene):
    return (particles_of(scene, positions=scene[0].positions_xyz_angstrom[:2]),)


def one_tilt(scene):
    series = scene[0].series
    return (particles_of(scene, series=replace(series, tilts=series.tilts[6:7])),)


def mixed_pixels(scene):
    series = scene[0].series
    other = replace(series, name="TS_2", pixel_size_angstrom=4.0, stack=Stack(series.stack.images, 4.0))
    return (particles_of(scene), particles_of(scene, series=other, name="TS_2"))


def with_nan(scene):
    series = scene[0].series
    images = series.stack.images.copy()
    images[4, 10, 10] = np.nan
    return (particles_of(scene, series=replace(series, stack=Stack(images, series.pixel_size_angstrom))),)


def without_ctf(scene):
    return (particles_of(scene, series=without(scene[0].series, "ctf")),)


CASES = {
    unaligned: r"particles need an alignment \(run align_series\) for every tilt; .* of TS_1 have none",
    without_ctf: r"particles need a CTF \(run estimate_ctf\)",
    outside: r"none of 8 particles lies inside an image: positions reach 9\d{3}, .* the right binning",
    of_another_binning: r"none of \d particles lies inside an image: positions reach 1000, 1000",
    two_particles: r"2 particles are too few for two halves; expected at least 4",
    one_tilt: r"no particle is visible in 5 tilts; the largest number is 1. Lower min_tilts",
    mixed_pixels: r"the series differ in pixel size: .*TS_1.*5.0.*TS_2.*4.0.* A; average them",
    with_nan: r"tilt \d+ of TS_1: the image holds values that are not finite; exclude the tilt",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_one_sentence_says_what_is_wrong(scene, case):
    with pytest.raises(CryoloomError, match=CASES[case]) as refused:
        refine(case(scene), RefineParams(), MemoryContext())
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("case", [outside, with_nan, mixed_pixels], ids=lambda case: case.__name__)
def test_the_same_without_refinement(scene, case):
    with pytest.raises(CryoloomError, match=CASES[case]):
        reconstruct_particle(case(scene), ReconstructParticleParams(), MemoryContext())


def test_a_symmetry_the_first_map_does_not_have(scene):
    with pytest.raises(
        CryoloomError, match=r"the first map does not have the symmetry C5 about its own axes"
    ):
        refine((particles_of(scene),), RefineParams(symmetry="C5"), MemoryContext())


def test_an_unknown_hand_is_reported_and_averaged(scene):
    series = scene[0].series
    unknown = replace(series, handedness=Sourced.from_told(None, "nobody"))
    context = MemoryContext()
    reconstruct_particle((particles_of(scene, series=unknown),), ReconstructParticleParams(), context)
    assert any("the handedness is not known" in warning for warning in context.warnings)


def test_two_particles_are_averaged_without_a_claim_they_do_not_support(scene):
    context = MemoryContext()
    made = reconstruct_particle(two_particles(scene), ReconstructParticleParams(), context)
    assert made.n_particles == 2
    assert made.resolution_angstrom is None or made.resolution_angstrom > 15
