"""Groups of parameters are used beyond chance, and folds are alike."""

from __future__ import annotations

import numpy as np

from cryoloom.algorithms.series_refinement.held_out import decide, folds_of


def test_a_gain_beyond_chance_is_accepted_and_chance_is_not():
    rng = np.random.default_rng(0)
    before = rng.normal(100, 20, 60)
    assert decide("warp", before, before + rng.normal(1.0, 1.0, 60)).accepted
    chance = [decide("warp", before, before + rng.normal(0.0, 1.0, 60)).accepted for _ in range(400)]
    # 2.5 deviations, one sided: 0.6 %.
    assert np.mean(chance) < 0.025
    assert not decide("warp", before, before).accepted
    row = decide("warp", before, before + 1.0).row()
    assert row["decision"] == "used"
    assert row["held_out_gain_nats"] == 60.0


def test_folds_hold_both_halves():
    half = np.array([1] * 13 + [2] * 11)
    folds = folds_of(half, 4, np.random.default_rng(1))
    for fold in range(4):
        assert {1, 2} == set(half[folds == fold])
        assert 5 <= (folds == fold).sum() <= 8
