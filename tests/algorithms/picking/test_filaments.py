"""Filaments through points in any order, sampled with their twist."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cryoloom.algorithms.picking.filaments import fit_filament, order_along, sample_filament
from cryoloom.errors import DataUnfitError


def test_a_filament_is_followed_in_any_order(rng):
    angle = np.linspace(0, 2, 25)
    true = np.column_stack([800 * np.cos(angle), 800 * np.sin(angle), 200 * angle])
    points = true + rng.normal(0, 6, true.shape)
    filament = fit_filament(points[rng.permutation(25)], deviation_angstrom=10)
    assert_allclose(filament.points_xyz_angstrom, fit_filament(points).points_xyz_angstrom, atol=1e-9)
    assert_allclose(filament.length_angstrom, 2 * np.hypot(800, 200), rtol=0.03)
    places = sample_filament(filament, 50.0, twist_deg=30.0)
    assert_allclose(np.diff(places.along_angstrom), 50.0)
    x, z = places.rotations[:, :, 0], places.rotations[:, :, 2]
    steps = np.diff(places.positions_xyz_angstrom, axis=0)
    assert ((steps / np.linalg.norm(steps, axis=1, keepdims=True) * z[1:]).sum(axis=1) > 0.98).all()
    # A curve of constant pitch carries its frame nearly along: x turns by the twist.
    turn = np.rad2deg(np.arccos(np.clip((x[1:] * x[:-1]).sum(axis=1), -1, 1)))
    assert_allclose(np.median(turn), 30.0, atol=1.5)
    straight = sample_filament(fit_filament([[0.0, 0, 0], [0, 0, 100]]), 30.0)
    assert_allclose(straight.positions_xyz_angstrom[:, 2], [5, 35, 65, 95])
    with pytest.raises(DataUnfitError, match="expected 2"):
        fit_filament([[0.0, 0, 0]])


def test_points_given_in_any_order_are_put_along_their_curve(rng):
    angle = np.sort(rng.uniform(0, 4.5, 40))
    points = np.column_stack([500 * np.cos(angle), 500 * np.sin(angle), 50 * angle])
    shuffled = rng.permutation(40)
    order = shuffled[order_along(points[shuffled])]
    # Of the two directions the one that begins at the smaller x.
    expected = np.arange(40) if points[0, 0] < points[-1, 0] else np.arange(40)[::-1]
    assert_array_equal(order, expected)


def test_a_point_beside_the_curve_is_put_where_it_is_nearest():
    points = np.array([[0.0, 0, 0], [100, 0, 0], [200, 0, 0], [300, 0, 0], [160, 40, 0]])
    assert_array_equal(order_along(points), [0, 1, 4, 2, 3])


def test_one_place_lies_in_the_middle_of_a_short_filament():
    places = sample_filament(fit_filament([[0.0, 0, 0], [0, 0, 30]]), 50.0)
    assert_allclose(places.positions_xyz_angstrom, [[0, 0, 15]], atol=1e-9)
    assert_allclose(places.rotations[0, :, 2], [0, 0, 1], atol=1e-9)
    with pytest.raises(ValueError, match="positive spacing"):
        sample_filament(fit_filament([[0.0, 0, 0], [0, 0, 30]]), 0.0)


def test_the_first_azimuth_turns_all_places_alike():
    filament = fit_filament([[0.0, 0, 0], [0, 0, 100]])
    plain, turned = (sample_filament(filament, 25.0, 10.0, azimuth) for azimuth in (0.0, 40.0))
    cosine = np.einsum("ni,ni->n", plain.rotations[:, :, 0], turned.rotations[:, :, 0])
    assert_allclose(np.rad2deg(np.arccos(cosine)), 40.0, atol=1e-6)
