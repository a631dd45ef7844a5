"""What is left out, and why: duplicates, edges, gold, lattices; and distances to other things."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.picking.cleaning import lattice_distance, lattice_neighbours
from cryoloom.errors import DataUnfitError
from cryoloom.model import ArrayTable, ParticleRows, Tomogram
from cryoloom.steps.clean_particles import CleanParticlesParams, clean_particles
from makers.bead_images import bead_series
from makers.context import MemoryContext
from makers.picks_in_tomogram import particles_at, tomogram

__all__ = ["tomogram"]


def test_the_better_one_of_two_near_picks_stays(tomogram):
    picks = particles_at(tomogram, [[0, 0, 0], [30, 0, 0], [200, 0, 0]], score=np.array([1.0, 2.0, 0.5]))
    context = MemoryContext()
    left = clean_particles(picks, CleanParticlesParams(), context).rows()
    assert left.particle.tolist() == [2, 3]  # 30 A apart, half of 100 A is allowed
    assert context.figures["n_duplicates"] == 1
    assert context.records["left_out"] == [{"tomogram": "TS_01", "particle": 1, "why": "duplicate"}]
    assert clean_particles(picks, CleanParticlesParams(min_distance_angstrom=0), context).n_particles == 3
    best = clean_particles(picks, CleanParticlesParams(min_score=0.8), MemoryContext()).rows()
    assert best.particle.tolist() == [2]
    with pytest.raises(DataUnfitError, match="have no score"):
        clean_particles(particles_at(tomogram, [[0, 0, 0]]), CleanParticlesParams(min_score=1), context)


def test_picks_outside_the_tomogram_or_the_images_are_left_out(tomogram):
    picks = particles_at(tomogram, [[0, 0, 0], [0, 0, 290], [0, 0, 320], [2000, 0, 0], [0, -940, 0]])
    context = MemoryContext()
    assert clean_particles(picks, CleanParticlesParams(), context).rows().particle.tolist() == [1, 2, 5]
    assert context.figures["n_at_edges"] == 2
    strict = CleanParticlesParams(edge_angstrom=80)
    assert clean_particles(picks, strict, MemoryContext()).rows().particle.tolist() == [1]
    # Without a tomogram the images decide.
    alone = replace(picks, tomograms=())
    params = CleanParticlesParams(min_distance_angstrom=10)
    assert clean_particles(alone, params, MemoryContext()).rows().particle.tolist() == [1, 2, 3, 5]


def test_a_lattice_is_measured_and_lonely_picks_are_left_out(tomogram, rng):
    i, j = np.meshgrid(np.arange(9), np.arange(9))
    lattice = 75.0 * np.column_stack([(i + 0.5 * (j % 2)).ravel(), (0.866 * j).ravel(), np.zeros(81)])
    lattice += rng.normal(0, 4, lattice.shape) - [300, 300, 0]
    strays = np.array([[600.0, -600, 0], [-700, 0, 100], [500, 500, 200]])
    picks = particles_at(tomogram, np.concatenate([lattice, strays]))
    assert_allclose(lattice_distance(lattice), 75, rtol=0.06)
    context = MemoryContext()
    params = CleanParticlesParams(lattice_min_neighbours=2, min_distance_angstrom=30)
    left = clean_particles(picks, params, context)
    assert left.n_particles == 81
    assert context.figures["n_lonely"] == 3
    assert_allclose(context.figures["lattice_distance_angstrom"], 75, rtol=0.06)
    counts = lattice_neighbours(lattice, None, 75.0, 40.0)
    assert np.median(counts) == 6
    upside_down = np.tile([0.0, 0.0, 1.0], (81, 1))
    upside_down[40] = [0, 0, -1]
    assert lattice_neighbours(lattice, upside_down, 75.0, 40.0)[40] == 0
    assert lattice_distance(lattice[:10]) is None


def test_gold_in_the_images_keeps_picks_away(rng):
    series, beads, _ = bead_series(rng)
    tomogram = Tomogram(series, np.zeros((200, 400, 400), np.float32), 10.0)
    picks = particles_at(
        tomogram, np.concatenate([beads + np.array([0, 30, 0]), beads + np.array([0, 0, 400.0])])
    )
    context = MemoryContext()
    params = CleanParticlesParams(gold_angstrom=100, min_distance_angstrom=0, min_seen_fraction=0)
    left = clean_particles(picks, params, context).rows()
    assert left.particle.tolist() == list(range(len(beads) + 1, 2 * len(beads) + 1))
    assert context.figures["n_at_gold"] == len(beads)


def test_columns_survive(tomogram):
    rows = replace(
        ParticleRows.of("TS_01", np.eye(3) * 300, surface=np.array([1, 2, 3])),
        others={"amplitude": np.array([0.1, 0.2, 0.3])},
    )
    picks = replace(particles_at(tomogram, np.eye(3)), table=ArrayTable(rows.columns()))
    left = clean_particles(picks, CleanParticlesParams(edge_angstrom=20), MemoryContext()).rows()
    assert left.surface.tolist() == [1, 2]
    assert_allclose(left.others["amplitude"], [0.1, 0.2])
