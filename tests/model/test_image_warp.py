"""Smooth displacements of an image: what was fitted comes back, and undoing finds the position."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.model.image_warp import ImageWarp, warp_bases

EXTENT = (4000.0, 3000.0)


@pytest.fixture
def warp(rng):
    return ImageWarp.of_controls(rng.normal(0, 15.0, (4, 5, 2)), EXTENT)


def inside(rng, n=200):
    return rng.uniform(-0.5, 0.5, (n, 2)) * EXTENT


def test_controls_come_back_row_by_row_and_rounded():
    controls = np.arange(12, dtype=float).reshape(2, 3, 2) + 0.001
    warp = ImageWarp.of_controls(controls, EXTENT)
    assert (warp.n_controls_xy, warp.controls_xy_angstrom[1]) == ((3, 2), (2.0, 3.0))
    np.testing.assert_array_equal(warp.controls, np.round(controls, 2))


def test_equal_controls_displace_everything_equally(rng):
    warp = ImageWarp.of_controls(np.tile([7.0, -3.0], (4, 4, 1)), EXTENT)
    np.testing.assert_allclose(warp.displacement(inside(rng)), np.tile([7.0, -3.0], (200, 1)), atol=1e-9)


def test_beyond_the_field_the_displacement_is_that_of_its_edge(warp):
    corner = np.array([[2000.0, 1500.0]])
    np.testing.assert_allclose(warp.displacement(corner * 3), warp.displacement(corner))


def test_undoing_a_displacement_finds_the_position(rng, warp):
    positions = 0.9 * inside(rng)
    seen = positions + warp.displacement(positions)
    # Four rounds of a contraction by about a fiftieth.
    np.testing.assert_allclose(warp.undisplaced(seen), positions, atol=1e-3)


def test_a_fit_reproduces_displacements_of_its_own_kind(rng):
    truth = ImageWarp.of_controls(rng.normal(0, 15.0, (4, 4, 2)), EXTENT)
    positions = inside(rng)
    found = ImageWarp.fitted(positions, truth.displacement(positions), EXTENT, 4)
    np.testing.assert_allclose(found.controls, truth.controls, atol=0.02)  # rounded to 0.01 twice


def test_bases_sum_to_one(rng):
    for basis in warp_bases(inside(rng), EXTENT, (5, 4)):
        np.testing.assert_allclose(basis.sum(axis=1), 1.0)
