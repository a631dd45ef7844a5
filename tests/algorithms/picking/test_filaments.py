"""Filaments through points in any order, sampled with their twist."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.picking.filaments import fit_filament, sample_filament
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
