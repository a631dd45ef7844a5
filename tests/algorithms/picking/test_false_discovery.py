"""The competition with decoys keeps the rate it promises, and picks what is clear."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.picking.false_discovery import LEAST_MARGIN_NATS, compete, confirm


@pytest.mark.parametrize("n_decoys", [1, 3])
def test_without_particles_nothing_is_picked_in_95_of_100_scenes(n_decoys, rng):
    scenes = [compete(rng.gumbel(size=(1 + n_decoys, 120))) for _ in range(600)]
    picked = np.mean([(scene.q_value <= 0.05).any() for scene in scenes])
    # 5 % plus three standard deviations of 600 scenes.
    assert picked < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)


def test_the_rate_holds_and_clear_particles_are_picked(rng):
    is_particle = np.arange(400) < 100
    found, false = [], []
    for _ in range(60):
        evidence = rng.gumbel(size=(4, 400))
        evidence[0, is_particle] += rng.normal(9.0, 2.0, 100)
        picked = compete(evidence).q_value <= 0.05
        found.append(picked[is_particle].mean())
        false.append(picked[~is_particle].sum() / max(picked.sum(), 1))
    assert np.mean(false) < 0.055
    assert np.mean(found) > 0.9


def test_seven_clear_particles_are_enough_for_three_decoys():
    evidence = np.zeros((4, 7))
    evidence[0] = 10.0
    assert_allclose(compete(evidence).q_value, 1 / 3 / 7)
    assert (compete(evidence[:, :6]).q_value > 0.05).all()


def test_wins_that_are_not_clear_are_not_picked():
    evidence = np.zeros((4, 60))
    evidence[0] = 20.0
    evidence[0, :3] = [LEAST_MARGIN_NATS - 0.1, LEAST_MARGIN_NATS + 0.1, 0.2]
    picked = compete(evidence).q_value <= 0.05
    assert picked[3:].all()
    assert picked[:3].tolist() == [False, True, False]


def test_margin_and_winner():
    outcome = compete(np.array([[5.0, 1.0], [2.0, 3.0], [1.0, 2.5]]))
    assert_allclose(outcome.margin, [3.0, 0.5])
    assert outcome.is_target.tolist() == [True, False]
    assert outcome.q_value[1] == 1.0
    with pytest.raises(ValueError, match="at least one decoy"):
        compete(np.zeros((1, 3)))


def test_one_clear_particle_is_enough_for_23_decoys():
    first, further = np.zeros((4, 3)), np.zeros((20, 3))
    first[0, 0] = 10.0
    further[3, 1:] = 1.0
    outcome = confirm(first, further, all_places=True)
    assert_allclose(outcome.q_value, [1 / 23, 1.0, 1.0])


def test_another_protein_is_taken_for_the_particle_in_one_scene_of_24_at_most(rng):
    """One template fits it best everywhere: each scene has its own favourite."""
    picked = {True: [], False: []}
    for _ in range(600):
        evidence = rng.gumbel(size=(24, 200)) + rng.normal(0, 8.0, (24, 1))
        of_first = compete(evidence[:4])
        won = np.flatnonzero(of_first.is_target)[:60]
        for everywhere, index in ((True, np.arange(50)), (False, won)):
            outcome = confirm(evidence[:4, index], evidence[4:, index], all_places=everywhere)
            picked[everywhere].append((outcome.q_value <= 0.05).any())
    limit = 1 / 24 + 3 * np.sqrt(1 / 24 / 600)
    assert np.mean(picked[True]) < limit
    assert np.mean(picked[False]) < limit


def test_places_won_before_are_confirmed_at_the_rate(rng):
    """Of chance, a place that the template won from 3 decoys it wins from 20 more once in 6."""
    found, false = [], []
    for _ in range(80):
        evidence = rng.gumbel(size=(24, 400))
        is_particle = np.arange(400) < 40
        evidence[0, is_particle] += 12.0
        won = np.flatnonzero(compete(evidence[:4]).is_target)
        picked = won[confirm(evidence[:4, won], evidence[4:, won], all_places=False).q_value <= 0.05]
        found.append(is_particle[picked].sum() / 40)
        false.append((~is_particle[picked]).sum() / max(len(picked), 1))
    assert np.mean(false) < 0.055
    assert np.mean(found) > 0.95
