"""Scale and B-factor of tilts: known ones are found within deviations, and none where nothing is seen."""

import numpy as np
from numpy.testing import assert_allclose

from cryoloom.algorithms.averaging.tilt_quality import fit_tilt_quality

BOX_ANGSTROM, N_SHELLS = 240.0, 40


def test_known_scales_and_b_factors_are_found(rng):
    scale, b = np.array([1.0, 0.7, 0.9]), np.array([0.0, 60.0, -30.0])
    k = np.arange(N_SHELLS) / BOX_ANGSTROM
    weight = np.tile(5e4 * np.exp(-40.0 * k**2), (3, 1))
    amplitude = scale[:, None] * np.exp(-b[:, None] * k**2 / 4)
    cross = amplitude * weight + np.sqrt(weight) * rng.standard_normal(weight.shape)

    found = fit_tilt_quality(cross, weight, BOX_ANGSTROM)

    assert_allclose(found.scale, scale, atol=0.01)
    assert (np.abs(found.b_factor_angstrom2 - b) < 4 * found.b_factor_sd_angstrom2).all()
    assert (found.b_factor_sd_angstrom2 < 10).all()


def test_a_tilt_that_shows_nothing_gets_none():
    weight = np.zeros((2, N_SHELLS))
    # Only the coarsest shells: a scale, but no B-factor.
    weight[1, 1:3] = 10.0
    found = fit_tilt_quality(weight.copy(), weight, BOX_ANGSTROM)
    assert np.isnan(found.scale[0])
    assert_allclose(found.scale[1], 1.0, atol=1e-3)
    assert np.isnan(found.b_factor_angstrom2).all()
