"""Ramp, fall-off and tilt weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.images.radial_filter import (
    RadialFilter,
    exact_weights,
    ramp_filter,
    sirt_like_factor,
    tilt_increments_rad,
)

TILTS = np.arange(-60, 61, 3.0)


@pytest.mark.parametrize("n", [256, 1000])
def test_ramp_is_linear_with_a_fifth_at_zero(n):
    ramp = ramp_filter(n)
    frequency = torch.fft.rfftfreq(n)
    # 2 / pi^2 = 0.2026 of the first step: the tail of the kernel that padding cuts off.
    assert float(ramp[0]) * n == pytest.approx(0.2026, abs=1e-3)
    np.testing.assert_allclose(ramp[4:], frequency[4:], rtol=0.01)


def test_falls_off_as_a_gaussian_of_the_value_at_the_cutoff():
    filters = RadialFilter(0.35, 0.05).of_tilts(TILTS, 2000) / np.deg2rad(3)
    assert filters.shape == (41, 1001)
    np.testing.assert_allclose(filters[:, 700], 0.35, rtol=1e-3)
    np.testing.assert_allclose(filters[:, 800], 0.35 * np.exp(-1), rtol=1e-3)


def test_sirt_like_is_the_formula_and_its_limits():
    frequency = torch.fft.rfftfreq(4096, dtype=torch.float64)
    rate = 0.00195
    few = sirt_like_factor(frequency, 10)
    high = frequency > 0.3
    # Exactly, and approximately N a / f: the next term of the binomial is N a / 2 f.
    np.testing.assert_allclose(few[100], 1 - (1 - rate / frequency[100]) ** 10.3)
    np.testing.assert_allclose((few * frequency)[high], 10.3 * rate, rtol=0.035)
    np.testing.assert_array_equal(few[frequency <= rate], 1)
    # The ramp, when there are so many iterations that (1 - 2 a)^N is nothing.
    np.testing.assert_allclose(sirt_like_factor(frequency, 10_000), 1, atol=1e-9)
    with pytest.raises(ValueError, match="at least 1 iteration"):
        sirt_like_factor(frequency, 0)


@pytest.mark.parametrize(("n", "effective"), [(15, 15), (20, 19), (30, 27), (50, 39)])
def test_late_iterations_count_less(n, effective):
    frequency = torch.tensor([0.1], dtype=torch.float64)
    expected = 1 - (1 - 0.00195 / 0.1) ** (effective + 0.3)
    assert float(sirt_like_factor(frequency, n)) == pytest.approx(expected)


def test_exact_weights_are_the_ramp_where_neighbours_overlap():
    weights, frequency = exact_weights(TILTS, 2000, 100.0), np.fft.rfftfreq(2000)
    # All overlap completely: every tilt is one of 41.
    np.testing.assert_allclose(weights[:, 0], 1 / (41 * 100))
    # Inside the range, between the resolution of the range and Crowther's, 1 / (100 px sin 3 deg) = 0.19.
    inside = (frequency > 0.025) & (frequency < 0.08)
    ramp = frequency[inside] * np.deg2rad(3)
    # A sum over steps of 3 degrees for an integral: 3 % where five slabs overlap.
    np.testing.assert_allclose(weights[20, inside], ramp, rtol=0.05)
    # Beyond, a tilt has only itself.
    np.testing.assert_allclose(weights[:, frequency > 0.2], 1 / 100)


def test_exact_weights_share_between_equal_tilts():
    once, twice = exact_weights([-10, 0, 10], 64, 50.0), exact_weights([-10, 0, 0, 10], 64, 50.0)
    np.testing.assert_allclose(twice[1] + twice[2], once[1] * 2 / (1 + once[1] * 50), rtol=1e-9)


def test_equal_steps_share_the_range():
    np.testing.assert_allclose(tilt_increments_rad(np.arange(-60, 61, 3)), np.deg2rad(3))


def test_uneven_equal_and_missing_tilts():
    increments = np.rad2deg(tilt_increments_rad([-3, 0, 0, 3, 5, 6]))
    np.testing.assert_allclose(increments, [3, 1.5, 1.5, 2.5, 1.5, 1])
    gap = np.rad2deg(tilt_increments_rad([-9, -6, -3, 18, 21, 24]))
    np.testing.assert_allclose(gap, [3, 3, 6, 6, 3, 3])  # not 12: at most twice the median


def test_refuses_a_single_direction():
    with pytest.raises(ValueError, match="different tilts"):
        tilt_increments_rad([10.0, 10.0])
