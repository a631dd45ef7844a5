"""Indices and positions: the centre is index n // 2, and axes are reversed."""

from __future__ import annotations

import pytest
from numpy.testing import assert_allclose

from cryoloom.geometry.frames import binned_shape, index_from_position, position_from_index


@pytest.mark.parametrize("shape", [(4, 6, 8), (5, 7, 9), (6, 8), (7, 9)])
def test_the_centre_is_the_origin_and_both_ways_are_inverse(shape, rng):
    assert_allclose(position_from_index([n // 2 for n in shape], shape, 2.5), 0)
    index = rng.uniform(0, 10, (20, len(shape)))
    assert_allclose(index_from_position(position_from_index(index, shape, 2.5), shape, 2.5), index)


def test_positions_are_xyz_in_angstrom():
    assert_allclose(position_from_index([0, 1, 2], (4, 6, 8), 2.0), [-4, -4, -4])
    assert_allclose(position_from_index([2, 3, 7], (4, 6, 8), 2.0), [6, 0, 0])


def test_binned_shapes_are_even():
    assert binned_shape((101, 64), 2.0) == (50, 32)
    assert binned_shape((3, 10), 4.0) == (2, 2)
