"""Sums of observations by what they belong to."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.algorithms.alignment.tracks import sum_by


@pytest.mark.parametrize("shape", [(), (3,), (9, 3)])
def test_sums_are_those_added_one_by_one(rng, shape):
    index, values = rng.integers(0, 6, 50), rng.standard_normal((50, *shape))
    expected = np.zeros((7, *shape))  # nothing belongs to the last
    np.add.at(expected, index, values)
    np.testing.assert_array_equal(sum_by(index, values, 7), expected)


@pytest.mark.parametrize("shape", [(), (3,), (9, 3)])
def test_of_nothing_the_sums_are_zero(shape):
    none = np.zeros(0, np.int64)
    np.testing.assert_array_equal(sum_by(none, np.zeros((0, *shape)), 4), np.zeros((4, *shape)))
