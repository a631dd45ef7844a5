"""Beads on surfaces, features within a layer."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.algorithms.specimen.point_surfaces import extent_of_layer, find_bead_planes, find_surfaces

SLOPES = np.array([0.2, -0.05])
ACROSS = 1 / np.sqrt(1 + 0.2**2 + 0.05**2)


def points_at(rng, heights):
    xy = rng.uniform(-1500, 1500, (len(heights), 2))
    return np.column_stack([xy, 100 + xy @ SLOPES + heights])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [(6, 6), (11, 3), (25, 15)])
def test_beads_on_both_surfaces(seed, n):
    rng = np.random.default_rng(seed)
    heights = np.repeat([-900.0, 900.0], n) + rng.normal(0, 20, sum(n))
    found = find_surfaces(points_at(rng, heights))
    assert found.distance_angstrom == pytest.approx(1800 * ACROSS, abs=60)
    assert (found.slope_x, found.slope_y) == pytest.approx(tuple(SLOPES), abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_beads_on_one_surface_and_what_lies_within_the_ice_are_not_on_two(seed):
    rng = np.random.default_rng(seed)
    one = find_surfaces(points_at(rng, rng.normal(0, 20, 12)))
    assert one.distance_angstrom is None
    assert one.cloud_thickness_angstrom < 100
    layer = find_surfaces(points_at(rng, rng.uniform(-800, 800, 600)))
    assert layer.distance_angstrom is None
    assert layer.cloud_thickness_angstrom == pytest.approx(0.9 * 1600 * ACROSS, rel=0.06)
    assert (layer.slope_x, layer.slope_y) == pytest.approx(tuple(SLOPES), abs=0.06)


def test_points_that_tell_no_plane():
    assert find_surfaces(np.zeros((4, 3))) is None
    line = np.column_stack([np.arange(8.0), 2 * np.arange(8.0), np.zeros(8)])
    assert find_surfaces(line) is None
    points = np.random.default_rng(1).uniform(-1000, 1000, (9, 3)) * [1, 1, 0.01]
    lost = np.vstack([points, np.full((3, 3), np.nan)])
    assert find_surfaces(lost) == find_surfaces(points)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n", [(6, 0), (14, 0), (7, 3), (12, 11)])
def test_planes_of_beads_are_found_among_others(seed, n):
    rng = np.random.default_rng(seed)
    heights = np.repeat([-900.0, 900.0], n) + rng.normal(0, 8, sum(n))
    wrong = points_at(rng, rng.uniform(-800, 800, sum(n) // 6))
    found = find_bead_planes(np.concatenate([points_at(rng, heights), wrong]), rng)
    expected = (-800.0, 1000.0) if n[1] else (-800.0,)
    # Six beads with 8 A of scatter tell a plane's height at the origin to 5 A or so.
    assert found.heights_angstrom == pytest.approx(expected, abs=25)
    assert (found.slope_x, found.slope_y) == pytest.approx(tuple(SLOPES), abs=0.02)


@pytest.mark.parametrize("seed", range(4))
def test_beads_within_the_ice_and_four_beads_have_no_planes(seed):
    rng = np.random.default_rng(seed)
    assert find_bead_planes(points_at(rng, rng.uniform(-500, 500, 20)), rng) is None
    assert find_bead_planes(points_at(rng, np.zeros(4)), rng) is None


def test_a_false_bead_far_above_the_ice_does_not_make_it_thicker():
    heights = np.append(np.linspace(-460.0, 440.0, 20), 2299.0)
    assert extent_of_layer(heights, -500.0, 480.0) == (-500.0, 480.0)


def test_beads_beyond_the_features_make_the_layer_thicker():
    # Particles keep away from the surfaces of 1400 angstrom of ice; beads reach them.
    heights = np.linspace(-700.0, 700.0, 40)
    low, high = extent_of_layer(heights, -430.0, 430.0)
    assert (low, high) == pytest.approx((-665.0, 665.0), abs=15.0)


def test_without_beads_the_layer_stays():
    assert extent_of_layer(np.zeros(0), -300.0, 200.0) == (-300.0, 200.0)
    assert extent_of_layer(np.array([2000.0, 2001.0]), -300.0, 200.0) == (-300.0, 200.0)
