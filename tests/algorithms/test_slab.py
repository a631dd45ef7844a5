"""The slab's fit on energies whose slab is known."""

import math

import numpy as np
import pytest
import torch

from cryoloom.algorithms.slab import Energies, fit_slab, random_phases
from cryoloom.geometry.rotations import rotation_x, rotation_y


def energies(rng, *, thickness, z_offset, tilt_x, tilt_y, side=3000.0, empty=0.0):
    """Cells of a slab with a rough inside, a dip about it and noise; a part of the cells is empty."""
    normal = (rotation_y(tilt_y) @ rotation_x(tilt_x))[:, 2]
    at = np.linspace(-side / 2, side / 2, 30)
    centres = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
    z = np.arange(-2500.0, 2501.0, 20.0)
    height = (z[None] - z_offset) * normal[2] + (centres @ normal[:2])[:, None]
    inside = np.abs(height) < thickness / 2
    ratio = 0.4 + 0.3 * np.abs(height) / 2500 + inside * rng.exponential(2.0, height.shape)
    ratio[rng.uniform(size=len(centres)) < empty] = 0.5
    return Energies(ratio * rng.gamma(8.0, 1 / 8.0, height.shape), z, centres)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("thickness", "z_offset", "tilt_x", "tilt_y"),
    [(1200, 300, 1.0, -2.5), (1800, -250, -2.0, 11.0), (600, 0, 0, 0)],
)
def test_a_slab_is_found(seed, thickness, z_offset, tilt_x, tilt_y):
    rng = np.random.default_rng(seed)
    fit = fit_slab(
        energies(rng, thickness=thickness, z_offset=z_offset, tilt_x=tilt_x, tilt_y=tilt_y, empty=0.15)
    )
    # A surface at a few percent of the step lies half the smoothing beyond a sharp one.
    assert fit.thickness_angstrom == pytest.approx(thickness, abs=0.05 * thickness + 60)
    assert fit.z_offset_angstrom == pytest.approx(z_offset, abs=20)
    assert fit.tilt_x_deg == pytest.approx(tilt_x, abs=0.3)
    assert fit.tilt_y_deg == pytest.approx(tilt_y, abs=0.3)
    assert fit.explained > 0.5
    assert fit.contrast > 2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_bright_bodies_at_different_heights_are_not_the_slab(seed):
    rng = np.random.default_rng(seed)
    faint = energies(rng, thickness=2200, z_offset=-80, tilt_x=-0.5, tilt_y=-11.0)
    ratio = 0.4 * faint.ratio
    right, low = (faint.centre_xy_angstrom > 0).T
    for z_offset, here in (
        (400, right & low),
        (450, right & ~low),
        (-100, ~right & low),
        (350, ~right & ~low),
    ):
        bright = energies(rng, thickness=700, z_offset=z_offset, tilt_x=-0.5, tilt_y=-11.0)
        ratio[here] += bright.ratio[here]
    fit = fit_slab(Energies(ratio, faint.z_angstrom, faint.centre_xy_angstrom))
    assert fit.thickness_angstrom == pytest.approx(2200, abs=0.05 * 2200)
    assert fit.z_offset_angstrom == pytest.approx(-80, abs=20)
    assert fit.tilt_y_deg == pytest.approx(-11.0, abs=0.5)


def test_noise_is_no_slab(rng):
    z = np.arange(-2500.0, 2501.0, 20.0)
    centres = np.stack(np.meshgrid(np.linspace(-900, 900, 10), np.linspace(-900, 900, 10)), -1).reshape(-1, 2)
    fit = fit_slab(Energies(rng.gamma(8.0, 1 / 8.0, (100, len(z))), z, centres))
    assert fit.explained < 0.3
    assert math.isfinite(fit.thickness_angstrom)


def test_random_phases_keep_spectra(rng):
    images = torch.from_numpy(rng.normal(size=(2, 40, 50)).astype(np.float32)).cumsum(-1)
    control = random_phases(images, rng)
    before, after = (torch.fft.rfft2(i).abs() for i in (images, control))
    np.testing.assert_allclose(after.numpy(), before.numpy(), rtol=1e-3, atol=1e-2)
    assert abs(np.corrcoef(images[0].ravel(), control[0].ravel())[0, 1]) < 0.9
