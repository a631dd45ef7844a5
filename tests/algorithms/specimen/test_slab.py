"""The slab's fit on energies whose slab is known."""

import math

import numpy as np
import pytest
import torch

from cryoloom.algorithms.specimen.slab import (
    Energies,
    features_beside,
    fit_slab,
    local_energies,
    random_phases,
)
from cryoloom.geometry.rotations import rotation_x, rotation_y

SIDE = 3000.0
Z = np.arange(-2500.0, 2501.0, 20.0)
NOISE_LEVEL = 2.7  # a thousandth of gamma(8) / 8 is above


def energies(rng, *, thickness, z_offset, tilt_x, tilt_y, n_bodies=300, radius=90.0, brightness=4.0):
    """Cells of a slab with bodies at random places within its surfaces, and noise."""
    slab = rotation_y(tilt_y) @ rotation_x(tilt_x)
    at = np.linspace(-SIDE / 2, SIDE / 2, 30)
    centres = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)
    ratio = np.full((len(centres), len(Z)), 0.7)
    reach = [0.6 * SIDE, 0.6 * SIDE, thickness / 2 - radius]
    for body in rng.uniform(-1, 1, (n_bodies, 3)) * reach @ slab.T + [0, 0, z_offset]:
        near = np.hypot(*(centres - body[:2]).T) < radius
        ratio[np.ix_(near, np.abs(Z - body[2]) < radius)] += rng.exponential(brightness) + 2.5
    return Energies(ratio * rng.gamma(8.0, 1 / 8.0, ratio.shape), Z, centres, NOISE_LEVEL)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("thickness", "z_offset", "tilt_x", "tilt_y"),
    [(1200, 300, 1.0, -2.5), (1800, -250, -2.0, 11.0), (600, 0, 0, 0), (1000, 100, 12.0, 3.0)],
)
def test_a_slab_is_found(seed, thickness, z_offset, tilt_x, tilt_y):
    rng = np.random.default_rng(seed)
    fit = fit_slab(energies(rng, thickness=thickness, z_offset=z_offset, tilt_x=tilt_x, tilt_y=tilt_y))
    assert fit.is_certain
    # So few bodies seldom touch a surface: within 60 A of both.
    assert fit.thickness_angstrom == pytest.approx(thickness, abs=0.05 * thickness + 40)
    assert fit.z_offset_angstrom == pytest.approx(z_offset, abs=40)
    off = np.hypot(fit.tilt_x_deg - tilt_x, fit.tilt_y_deg - tilt_y)
    assert off < 2.5 * fit.tilt_error_deg
    assert off < 2.0


def test_few_bodies_leave_the_thickness_open():
    """Of 20 bodies, 14 in the field, the outermost need not reach the surfaces: the errors say so."""
    off = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        made = energies(rng, thickness=1200.0, z_offset=100.0, tilt_x=0.0, tilt_y=0.0, n_bodies=20)
        fit = fit_slab(made, np.zeros(2))
        assert 6 < fit.n_features < 20
        assert fit.thickness_error_angstrom > 120.0
        off.append(
            (
                abs(fit.thickness_angstrom - 1200.0) / fit.thickness_error_angstrom,
                abs(fit.z_offset_angstrom - 100.0) / fit.middle_error_angstrom,
            )
        )
    assert np.max(off) < 3.0
    assert (np.median(off, axis=0) < 1.0).all()
    full = fit_slab(
        energies(np.random.default_rng(1), thickness=1200.0, z_offset=100.0, tilt_x=0.0, tilt_y=0.0)
    )
    assert full.thickness_error_angstrom < 0.06 * 1200.0


def test_bodies_that_lie_unevenly_do_not_tilt_the_slab():
    """More bodies high on the left and low on the right: a plane through their middles is 4 degrees off."""
    rng = np.random.default_rng(3)
    even = energies(rng, thickness=2000, z_offset=0, tilt_x=0, tilt_y=0)
    ratio = even.ratio.copy()
    for sign in (-1, 1):
        here = np.flatnonzero(even.centre_xy_angstrom[:, 0] * sign > 300.0)
        for cell in rng.choice(here, 60):
            ratio[cell, np.abs(Z + sign * rng.uniform(200, 800)) < 90] += 8.0
    filled = np.argwhere(ratio > NOISE_LEVEL)
    design = np.column_stack([np.ones(len(filled)), even.centre_xy_angstrom[filled[:, 0]]])
    middle = np.linalg.lstsq(design, Z[filled[:, 1]], rcond=None)[0]
    assert math.degrees(math.atan(middle[1])) < -4.0
    fit = fit_slab(Energies(ratio, Z, even.centre_xy_angstrom, NOISE_LEVEL))
    assert abs(fit.tilt_y_deg) < 1.5
    assert fit.thickness_angstrom == pytest.approx(2000, rel=0.05)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_bright_bodies_at_different_heights_are_not_the_slab(seed):
    rng = np.random.default_rng(seed)
    faint = energies(rng, thickness=2200, z_offset=-80, tilt_x=-0.5, tilt_y=-11.0, brightness=0.5)
    ratio = faint.ratio.copy()
    right, low = (faint.centre_xy_angstrom > 0).T
    for z_offset, here in (
        (400, right & low),
        (450, right & ~low),
        (-100, ~right & low),
        (350, ~right & ~low),
    ):
        bright = energies(
            rng, thickness=700, z_offset=z_offset, tilt_x=-0.5, tilt_y=-11.0, n_bodies=40, brightness=40
        )
        ratio[here] = np.maximum(ratio[here], bright.ratio[here])
    fit = fit_slab(Energies(ratio, Z, faint.centre_xy_angstrom, NOISE_LEVEL))
    assert fit.thickness_angstrom == pytest.approx(2200, rel=0.05)
    assert fit.z_offset_angstrom == pytest.approx(-80, abs=50)
    assert fit.tilt_y_deg == pytest.approx(-11.0, abs=1.5)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_is_no_slab(seed):
    rng = np.random.default_rng(seed)
    noise = energies(rng, thickness=1000, z_offset=0, tilt_x=0, tilt_y=0, n_bodies=0)
    scaled = Energies(noise.ratio / 0.7, Z, noise.centre_xy_angstrom, NOISE_LEVEL)
    fit = fit_slab(scaled)
    assert not fit.is_certain
    assert math.isfinite(fit.thickness_angstrom)


def test_nothing_at_all_is_no_slab(rng):
    empty = energies(rng, thickness=1000, z_offset=0, tilt_x=0, tilt_y=0, n_bodies=0)
    fit = fit_slab(Energies(np.ones_like(empty.ratio), Z, empty.centre_xy_angstrom, NOISE_LEVEL))
    assert not fit.is_certain


@pytest.mark.parametrize("shape", [(60, 64, 48), (61, 63, 49)])
def test_blocks_of_the_control_are_seldom_filled(rng, shape):
    volume, control = (torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for _ in range(2))
    volume[20:30] *= 3
    found = local_energies(volume, control, 20.0)
    filled = (found.ratio > found.filled_level).mean(axis=0)
    assert filled[20:30].min() > 0.9
    assert np.delete(filled, np.s_[20:30]).mean() < 0.01


def test_random_phases_keep_spectra(rng):
    images = torch.from_numpy(rng.normal(size=(2, 40, 50)).astype(np.float32)).cumsum(-1)
    control = random_phases(images, rng)
    before, after = (torch.fft.rfft2(i).abs() for i in (images, control))
    np.testing.assert_allclose(after.numpy(), before.numpy(), rtol=1e-3, atol=1e-2)
    assert abs(np.corrcoef(images[0].ravel(), control[0].ravel())[0, 1]) < 0.9


def test_features_are_counted_on_either_side_of_a_plane():
    made = energies(np.random.default_rng(2), thickness=1200.0, z_offset=700.0, tilt_x=0.0, tilt_y=0.0)
    below, above = features_beside(made, np.zeros(2), 100.0, 1200.0)
    assert above > 10 * max(below, 0.1)
    below, above = features_beside(made, np.zeros(2), 1300.0, 1200.0)
    assert below > 10 * max(above, 0.1)
