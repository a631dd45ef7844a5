"""E by low degrees against the sum over frequencies, with a missing wedge."""

from __future__ import annotations

import numpy as np

from cryoloom.algorithms.picking.template_energy import RotationSet, directional_power, template_energy
from cryoloom.geometry.orientation_grid import rotation_grid

SIDE = 24


def test_energies_are_those_of_the_turned_density(rng):
    # A density of Gaussian lumps is turned exactly by turning their centres.
    centres, width = rng.normal(0, 1.0, (24, 3)) * [0.5, 1.0, 3.0], 1.2
    at = np.arange(SIDE) - SIDE // 2
    z, y, x = np.meshgrid(at, at, at, indexing="ij")

    def density(rotation):
        lumps = centres @ rotation.T
        return sum(
            np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * width**2)) for a, b, c in lumps
        )

    n = 2 * SIDE
    axis = np.fft.fftfreq(n)
    kz, ky, kx = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.sqrt(kz**2 + ky**2 + kx**2)
    information = ((np.abs(kz) <= 1.75 * np.abs(kx)) & (radius > 0.06) & (radius < 0.45)) * radius
    rotations = rotation_grid(60.0)[::5]
    spectra = (np.fft.fftn(density(r), s=(n,) * 3, axes=(0, 1, 2)) for r in rotations)
    exact = np.array([(information * np.abs(spectrum) ** 2).sum() for spectrum in spectra])

    found = template_energy(density(np.eye(3)), directional_power(information, n)).at(
        RotationSet.of(rotations)
    )

    # But for a factor; what the higher degrees add is small next to how E changes with rotation.
    ratio = found * exact.mean() / found.mean() / exact
    assert exact.std() / exact.mean() > 0.1
    assert np.abs(ratio - 1).max() < 0.05
    assert np.sqrt(np.mean((ratio - 1) ** 2)) < 0.03
