"""A sphere drawn by hand finds the dark shell near it."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.web.drawn.shell_fit import fit_shell


def test_a_drawn_sphere_finds_the_shell(rng: np.random.Generator) -> None:
    """Centre off by a tenth and radius by 15 %: found to a few angstrom, noise as in a tomogram."""
    size, truth, radius = 20.0, np.array([60.0, -90.0, 30.0]), 300.0
    axes = [(np.arange(64) - 32) * size] * 3
    z, y, x = np.meshgrid(*axes, indexing="ij")
    distance = np.linalg.norm(np.stack([x, y, z], axis=-1) - truth, axis=-1)
    volume = 128 - 45 * np.exp(-(((distance - radius) / 25) ** 2)) + rng.normal(0, 18, distance.shape)
    fit, points = fit_shell(
        volume.clip(0, 255).astype(np.uint8), size, truth + np.array([25.0, -15.0, 10.0]), 1.15 * radius
    )
    assert fit.ellipsoid.half_axes_angstrom[0] == pytest.approx(radius, rel=0.02)
    assert np.linalg.norm(fit.ellipsoid.centre_xyz_angstrom - truth) < 0.5 * size
    assert len(points) > 100


def test_a_sphere_outside_of_the_volume_is_reported() -> None:
    volume = np.full((32, 32, 32), 128, np.uint8)
    with pytest.raises(DataUnfitError, match="points"):
        fit_shell(volume, 20.0, np.array([5000.0, 0.0, 0.0]), 200.0)


def test_the_shell_is_found_beside_the_beam_alone() -> None:
    """Top and bottom, which the missing wedge takes away, are not asked."""
    size, radius = 20.0, 240.0
    axes = [(np.arange(48) - 24) * size] * 3
    z, y, x = np.meshgrid(*axes, indexing="ij")
    distance = np.sqrt(x**2 + y**2 + z**2)
    shell = 60 * np.exp(-(((distance - radius) / 25) ** 2))
    shell[np.abs(z) > 0.7 * radius] = 0.0
    fit, points = fit_shell((128 - shell).astype(np.uint8), size, np.zeros(3), 1.1 * radius)
    assert fit.ellipsoid.half_axes_angstrom[0] == pytest.approx(radius, rel=0.03)
    assert np.abs(points[:, 2]).max() < 0.65 * 1.1 * radius
