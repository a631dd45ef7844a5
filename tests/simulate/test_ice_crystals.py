import numpy as np
from numpy.testing import assert_allclose

from cryoloom.simulate.ice_crystals import _MEAN_FREE_PATH_ANGSTROM, crystal_contrast, place_crystals
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.stage import tilt_truths


def test_darkness_tells_the_path_through_a_crystal(rng):
    params = SimulationParams(tilt_min_deg=-40, tilt_max_deg=40, tilt_step_deg=40, pixel_size_angstrom=50.0)
    tilt = next(t for t in tilt_truths(params, rng) if t.nominal_tilt_deg == 40)
    low, high = np.array([-200.0, -200.0]), np.array([200.0, 200.0])
    crystals = place_crystals(1, 1500.0, low, high, 600.0, rng)
    shape = (64, 64)
    dark = crystal_contrast(crystals, tilt, params, shape, rng)
    # The path, by counting points along the beam that are inside.
    step = 10.0
    places = (np.arange(64) - 32) * 50.0
    z, y, x = np.meshgrid(np.arange(-2500, 2500, step), places, places, indexing="ij")
    in_image = np.stack([x, y, z], axis=-1) - np.append(tilt.shift_xy_angstrom, 0.0)
    in_specimen = in_image @ tilt.pose.matrix
    inside = (
        np.linalg.norm((in_specimen - crystals.centres_xyz_angstrom[0]) @ crystals.forms[0].T, axis=-1) < 1
    )
    path = inside.sum(axis=0) * step
    assert path.max() > 700
    lost = -np.log1p(-dark)
    power = lost.sum() / path.sum() * _MEAN_FREE_PATH_ANGSTROM
    assert 0.2 < power < 5
    assert_allclose(lost * _MEAN_FREE_PATH_ANGSTROM, power * path, atol=1.5 * step * power)


def test_crystals_lie_on_both_surfaces(rng):
    low, high = np.array([-5000.0, -4000.0]), np.array([5000.0, 4000.0])
    crystals = place_crystals(40, 1500.0, low, high, 600.0, rng)
    centres = crystals.centres_xyz_angstrom
    assert (np.abs(centres[:, 2]) > 600).all()
    assert (np.abs(centres[:, 2]) < 600 + 0.3 * 750).all()
    assert 5 < (centres[:, 2] > 0).sum() < 35
    assert ((centres[:, :2] > low) & (centres[:, :2] < high)).all()
    axes = 1 / np.linalg.norm(crystals.forms, axis=2)
    assert axes.min() >= 375
    assert axes.max() <= 750
