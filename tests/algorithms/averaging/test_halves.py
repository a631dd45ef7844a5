"""Particles without duplicates, in two halves that have no pixels in common."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cryoloom.algorithms.averaging.halves import assign_halves, duplicates, least_distance_angstrom
from cryoloom.model import ParticleRows


def rows_at(places, tomogram="TS_01", **more):
    return ParticleRows.of(tomogram, np.array(places, dtype=float), **more)


def test_the_better_of_two_close_particles_is_kept():
    places = [[0, 0, 0], [5, 0, 0], [100, 0, 0], [104, 0, 0], [200, 0, 0]]
    scores = np.array([0.3, 0.9, 0.8, 0.2, 0.1])
    assert duplicates(rows_at(places, score=scores), 10.0).tolist() == [True, False, False, True, False]
    # Without scores, the earlier one.
    assert duplicates(rows_at(places), 10.0).tolist() == [False, True, False, True, False]


def test_a_dropped_particle_drops_no_other():
    # 8 A apart: the middle one is a duplicate of the first, the last only of the middle one.
    rows = rows_at([[0, 0, 0], [8, 0, 0], [16, 0, 0]], score=np.array([3.0, 2.0, 1.0]))
    assert duplicates(rows, 10.0).tolist() == [False, True, False]


def test_particles_of_other_tomograms_are_no_duplicates():
    rows = ParticleRows(
        np.array(["TS_01", "TS_02"]), np.array([1, 1]), np.zeros((2, 3)), np.tile(np.eye(3), (2, 1, 1))
    )
    assert not duplicates(rows, 10.0).any()


@pytest.mark.parametrize("n", [40, 41])
def test_touching_particles_share_a_half_and_halves_are_equal(n, rng):
    # Pairs 20 A apart, 500 A from the next pair.
    places = np.zeros((n, 3))
    places[:, 0] = 500.0 * (np.arange(n) // 2) + 20.0 * (np.arange(n) % 2)
    shuffled = rng.permutation(n)
    half = assign_halves(rows_at(places[shuffled]), 30.0, rng)[np.argsort(shuffled)]
    assert set(half) == {1, 2}
    for first in range(0, n - 1, 2):
        assert half[first] == half[first + 1]
    assert abs(np.count_nonzero(half == 1) - np.count_nonzero(half == 2)) <= 2


def test_a_crowd_is_divided_into_regions_although_all_touch(rng):
    places = np.zeros((30, 3))
    places[:, 0] = 20.0 * np.arange(30)
    half = assign_halves(rows_at(places), 30.0, rng)
    assert abs(np.count_nonzero(half == 1) - np.count_nonzero(half == 2)) <= 2
    # A particle by itself has neighbours of the other half in 15 of 29 pairs.
    assert np.count_nonzero(np.diff(half)) < 12


def test_a_shell_is_divided_into_regions(rng):
    n = 400
    height = np.linspace(-1, 1, n)
    turn = np.pi * (1 + 5**0.5) * np.arange(n)
    places = 400.0 * np.stack(
        [np.sqrt(1 - height**2) * np.cos(turn), np.sqrt(1 - height**2) * np.sin(turn), height], 1
    )
    half = assign_halves(rows_at(places), 90.0, rng)
    assert abs(np.count_nonzero(half == 1) - 200) <= 20
    pairs = cKDTree(places).query_pairs(90.0, output_type="ndarray")
    assert (half[pairs[:, 0]] != half[pairs[:, 1]]).mean() < 0.3


def test_picks_on_a_surface_may_be_closer_than_a_diameter():
    places = [[40.0 * i, 0, 0] for i in range(9)] + [[0.0, 1.0, 0.0]]
    assert least_distance_angstrom(rows_at(places), 350.0) == pytest.approx(140.0)
    directed = rows_at(places, prior_directions=np.tile([0.0, 0, 1], (10, 1)))
    # Half the spacing; one place is there twice.
    assert least_distance_angstrom(directed, 350.0) == pytest.approx(20.0)
    assert least_distance_angstrom(directed, 30.0) == pytest.approx(12.0)
    alone = rows_at([[0, 0, 0]], prior_directions=np.array([[0.0, 0, 1]]))
    assert least_distance_angstrom(alone, 100.0) == pytest.approx(40.0)
