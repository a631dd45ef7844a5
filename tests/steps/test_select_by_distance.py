"""Picks near other objects, or far from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.model import ArrayTable
from cryoloom.steps.select_by_distance import SelectByDistanceParams, select_by_distance
from makers.context import MemoryContext
from makers.picks_in_tomogram import particles_at, tomogram

__all__ = ["tomogram"]


def test_distances_to_other_things(tomogram):
    picks = particles_at(tomogram, [[0, 0, 0], [100, 0, 0], [400, 0, 0]])
    membrane = particles_at(tomogram, [[0, 50, 0], [0, -50, 10]])
    context = MemoryContext()
    far = select_by_distance(
        picks, SelectByDistanceParams(min_distance_angstrom=80), context, others_from=membrane
    )
    assert far.rows().particle.tolist() == [2, 3]
    near = SelectByDistanceParams(max_distance_angstrom=120)
    assert select_by_distance(picks, near, context, others_from=membrane).rows().particle.tolist() == [1, 2]
    elsewhere = replace(
        membrane, table=ArrayTable({**membrane.table.arrays, "tomogram": np.array(["TS_02"] * 2)})
    )
    assert select_by_distance(picks, near, context, others_from=elsewhere).n_particles == 0
    assert "distance_median_angstrom" in context.reasons_not_measurable
    with pytest.raises(ValueError, match="expected more than"):
        SelectByDistanceParams(min_distance_angstrom=100, max_distance_angstrom=50)


def test_each_tomogram_has_its_own_others_and_figures_are_of_them(tomogram):
    picks = particles_at(tomogram, [[0, 0, 0], [0, 0, 300]])
    others = particles_at(tomogram, [[0, 0, 90]])
    context = MemoryContext()
    kept = select_by_distance(picks, SelectByDistanceParams(), context, others_from=others)
    assert kept.n_particles == 2
    assert context.figures["n_before"] == context.figures["n_particles"] == 2
    assert context.figures["distance_median_angstrom"] == pytest.approx((90 + 210) / 2)
    assert kept.rows().positions_xyz_angstrom.tolist() == [[0, 0, 0], [0, 0, 300]]
