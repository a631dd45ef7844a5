"""Ramp, fall-off and tilt weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.radial_filter import ramp_filter, tilt_increments_rad


@pytest.mark.parametrize("n", [256, 1000])
def test_ramp_is_linear_with_a_fifth_at_zero(n):
    ramp = ramp_filter(n, 0.5, 0.05)
    frequency = torch.fft.rfftfreq(n)
    # 2 / pi^2 = 0.2026 of the first step: the tail of the kernel that padding cuts off.
    assert float(ramp[0]) * n == pytest.approx(0.2026, abs=1e-3)
    np.testing.assert_allclose(ramp[4:], frequency[4:], rtol=0.01)


def test_falls_off_as_a_gaussian_of_the_value_at_the_cutoff():
    ramp = ramp_filter(2000, 0.35, 0.05)
    assert float(ramp[700]) == pytest.approx(0.35, rel=1e-3)
    assert float(ramp[800]) == pytest.approx(0.35 * np.exp(-1), rel=1e-3)


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
