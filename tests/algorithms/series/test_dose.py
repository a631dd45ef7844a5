"""Radiation damage weights: numbers from the published formula, and limits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad

from cryoloom.algorithms.series.dose import (
    critical_exposure,
    dose_weights,
    mean_dose_weights,
    power_normalisation,
    voltage_factor,
)


def test_critical_exposure_is_the_published_curve():
    # 0.24499 * 0.1^-1.6649 + 2.8141 = 0.24499 * 46.228 + 2.8141, and 0.24499 * (1/3)^-1.6649 + 2.8141.
    assert_allclose(critical_exposure([0.1, 1 / 3]), [14.1395, 4.3400], rtol=2e-4)


def test_critical_exposure_at_other_voltages():
    assert critical_exposure(0.1, 200.0) == pytest.approx(0.8 * critical_exposure(0.1))
    assert voltage_factor(250.0) == pytest.approx(0.9)
    assert voltage_factor(100.0) == voltage_factor(120.0) == 0.45


def test_weight_after_one_critical_exposure_is_exp_minus_half():
    frequency = np.array([0.05, 0.1, 0.2])
    assert_allclose(dose_weights(frequency, critical_exposure(frequency)), np.exp(-0.5))


def test_nothing_is_lost_at_frequency_zero_or_without_dose():
    assert dose_weights(0.0, 100.0) == 1.0
    assert mean_dose_weights(0.0, 0.0, 100.0) == 1.0
    assert mean_dose_weights(0.2, 0.0, 0.0) == 1.0
    assert mean_dose_weights(0.2, 7.0, 7.0) == pytest.approx(dose_weights(0.2, 7.0))


@pytest.mark.parametrize(("start", "end"), [(0.0, 3.0), (30.0, 33.0), (0.0, 120.0), (5.0, 5.0001)])
def test_mean_weight_is_the_integral_over_the_exposure(start, end):
    integral = quad(lambda n: float(dose_weights(0.15, n)), start, end)[0] / (end - start)
    assert_allclose(mean_dose_weights(0.15, start, end), integral, rtol=1e-8)


def test_normalised_weights_keep_the_noise_power(rng):
    weights = rng.uniform(0.1, 1.0, (8, 5))
    assert_allclose(np.mean(power_normalisation(weights) ** 2, axis=0), 1.0)
