"""Selection of picks: the better of twins, distances, images that show a pick, and a lattice's neighbours."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from cryoloom.algorithms.picking.cleaning import (
    distance_to,
    distinct,
    lattice_distance,
    lattice_neighbours,
    seen_fraction,
)
from makers.bead_images import PIXEL, bead_series


def hexagons(spacing, n=8):
    """A hexagonal lattice in the plane z = 0."""
    i, j = np.meshgrid(np.arange(n), np.arange(n))
    x, y = spacing * (i + 0.5 * j), spacing * np.sqrt(0.75) * j
    return np.column_stack([x.ravel(), y.ravel(), np.zeros(n * n)])


def test_of_twins_the_better_one_stays_and_one_without_score_goes():
    at = np.array([[0.0, 0, 0], [10, 0, 0], [100, 0, 0], [104, 0, 0]])
    assert_array_equal(distinct(at, np.array([1.0, 3.0, np.nan, 0.1]), 20.0), [False, True, False, True])
    assert_array_equal(distinct(at, None, 20.0), [True, False, True, False])
    assert distinct(at, None, 3.0).all()


def test_distances_to_nothing_are_infinite():
    at = np.array([[0.0, 0, 0], [3, 4, 0]])
    assert_allclose(distance_to(at, np.array([[0.0, 0, 12], [3, 4, 1]])), [np.sqrt(26), 1.0])
    assert np.isinf(distance_to(at, np.empty((0, 3)))).all()
    assert distance_to(np.empty((0, 3)), at).shape == (0,)


def test_a_lattice_is_measured_with_its_noise(rng):
    at = hexagons(80.0) + rng.normal(0, 4, (64, 3))
    assert_allclose(lattice_distance(at), 80.0, atol=6)
    assert lattice_distance(at[:19]) is None
    assert lattice_distance(np.zeros((30, 3))) is None


def test_six_neighbours_inside_and_fewer_where_axes_differ():
    at = hexagons(80.0)
    count = lattice_neighbours(at, None, 80.0, 180.0).reshape(8, 8)
    assert (count[1:-1, 1:-1] == 6).all()
    assert sorted([count[0, 0], count[0, -1], count[-1, 0], count[-1, -1]]) == [2, 2, 3, 3]
    axes = np.tile([0.0, 0, 1], (64, 1))
    axes[27] = [1.0, 0, 0]
    without = lattice_neighbours(at, axes, 80.0, 30.0).reshape(8, 8)
    assert without[3, 3] == 0
    assert (count - without).sum() == 12
    # Twice as far apart nothing is a neighbour.
    assert not lattice_neighbours(2 * at, axes, 80.0, 30.0).any()


def test_the_middle_is_in_all_images_and_a_place_far_along_the_axis_in_none(rng):
    series, _, _ = bead_series(rng, n_beads=1, n_tilts=9, shape=(160, 200))
    # The axis lies along the image's x, nearly: 200 pixels of 10 A.
    reach = 100 * PIXEL
    at = np.array([[0.0, 0, 0], [0.0, 2 * reach, 0]])
    assert_allclose(seen_fraction(series, at, 0.0), [1, 0])
    assert_allclose(seen_fraction(series, at, 0.81 * reach), [0, 0])
    unaligned = series.with_tilts({t.acquisition_index: {"pose": None} for t in series.tilts})
    assert_allclose(seen_fraction(unaligned, at, 0.0), [0, 0])
