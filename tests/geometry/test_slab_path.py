"""Paths through a tilted slab, and the width of a tilted image."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.geometry.slab_path import (
    compression,
    sines_between,
    slab_path,
    slab_path_slope,
    tilt_of_compression,
)


def test_a_slab_is_twice_as_thick_at_60_degrees():
    np.testing.assert_allclose(slab_path(np.deg2rad([0.0, -60.0, 60.0])), [1.0, 2.0, 2.0])


def test_the_slope_is_that_of_the_logarithm_of_the_path():
    tilt, step = np.deg2rad([-40.0, 0.0, 55.0]), 1e-6
    numeric = (np.log(slab_path(tilt + step)) - np.log(slab_path(tilt - step))) / (2 * step)
    np.testing.assert_allclose(slab_path_slope(tilt), numeric, atol=1e-8)


def test_compression_and_its_inverse():
    assert float(compression(60.0, 0.0)) == pytest.approx(0.5)
    np.testing.assert_allclose(compression([10.0, 40.0], [10.0, -40.0]), 1.0)
    tilts = np.array([10.0, 45.0, 80.0])
    np.testing.assert_allclose(tilt_of_compression(compression(tilts, 70.0), 70.0), tilts)


def test_a_compression_that_no_tilt_has_gives_the_nearest():
    assert float(tilt_of_compression(5.0, 70.0)) == 0.0


def test_sines_between_tilts_are_those_of_their_differences():
    tilts = [-60.0, 0.0, 30.0]
    expected = [[0, np.sqrt(0.75), 1], [np.sqrt(0.75), 0, 0.5], [1, 0.5, 0]]
    np.testing.assert_allclose(sines_between(tilts), expected, atol=1e-15)
