"""Correlation by shells: of known mixtures of signal and noise, of random phases, and of a ball."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.averaging.shell_correlation import (
    corrected_correlation,
    first_fall,
    non_axial,
    non_radial,
    randomised_phases,
    shell_correlation,
    soft_sphere,
)


def noise(rng, n):
    return torch.tensor(rng.standard_normal((n, n, n)), dtype=torch.float32)


def distance(n):
    at = np.arange(n) - n // 2
    return np.sqrt(at[:, None, None] ** 2 + at[None, :, None] ** 2 + at[None, None] ** 2)


@pytest.mark.parametrize("n", [32, 33])
def test_halves_of_signal_and_noise_correlate_as_their_powers_say(n, rng):
    signal = noise(rng, n)
    halves = [signal + 0.5 * noise(rng, n) for _ in range(2)]
    curve = shell_correlation(*halves)
    assert len(curve) == n // 2 + 1
    # 1 / (1 + 0.25), with 3000 values a shell beyond the sixteenth.
    assert np.mean(curve[6:]) == pytest.approx(0.8, abs=0.02)
    assert_allclose(shell_correlation(signal, -2.0 * signal), -1.0, atol=1e-5)


def test_resolution_is_where_the_curve_falls_first():
    curve = np.array([1.0, 1.0, 0.8, 0.4, 0.0, 0.9, 0.9])
    # Halfway from shell 3 (0.4) to shell 4 (0.0): 0.2.
    assert first_fall(curve, 0.2, 100.0) == pytest.approx(100.0 / 3.5)
    assert first_fall(np.ones(11), 0.143, 100.0) == 10.0
    assert math.isinf(first_fall(np.array([1.0, 0.1, 0.9]), 0.143, 100.0))


def test_random_phases_keep_amplitudes_and_what_is_below(rng):
    density = noise(rng, 24)
    mixed = randomised_phases(density, 6, rng)
    before, after = torch.fft.rfftn(density), torch.fft.rfftn(mixed)
    assert_allclose(after.abs(), before.abs(), rtol=1e-3, atol=1e-3)
    curve = shell_correlation(density, mixed)
    assert_allclose(curve[:6], 1.0, atol=1e-4)
    assert abs(np.mean(curve[7:])) < 0.1


def test_the_mask_s_correlation_is_taken_off():
    masked, random = np.full(10, 0.6), np.full(10, 0.2)
    corrected = corrected_correlation(masked, random, 3)
    assert_allclose(corrected[:5], 0.6)
    assert_allclose(corrected[5:], 0.5)  # (0.6 - 0.2) / (1 - 0.2)
    assert_allclose(corrected_correlation(random, masked, 0)[2:], 0.0)


def test_a_soft_sphere_is_1_inside_and_0_beyond_its_edge():
    mask, radius = soft_sphere(21, 5.0, 3.0).numpy(), distance(21)
    assert (mask[radius <= 5.0] == 1.0).all()
    assert (mask[radius >= 8.0] == 0.0).all()
    assert_allclose(mask[10, 10, 10 + 6], 0.75, atol=1e-6)  # a third of a cosine's fall


def test_what_is_left_without_the_radial_part_is_what_depends_on_direction():
    radius = distance(32)
    ball = torch.tensor(np.exp(-((radius / 6.0) ** 2)), dtype=torch.float32)
    assert float(non_radial(ball, 12.0).abs().max()) < 0.01
    x = torch.tensor((np.arange(32) - 16) / 12.0, dtype=torch.float32)
    lopsided = ball * x[None, None, :]
    left = non_radial(ball + lopsided, 12.0)
    inside = torch.tensor(radius <= 11.0)
    assert_allclose(left[inside], lopsided[inside], atol=0.01)


def test_the_axial_mean_is_taken_off_and_what_depends_on_the_azimuth_stays():
    axis = np.arange(32) - 16
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    radius = np.hypot(x, y)
    tube = np.exp(-(((radius - 8.0) / 3.0) ** 2)) * np.cos(z / 3.0)
    ribs = np.exp(-(((radius - 8.0) / 3.0) ** 2)) * np.cos(3.0 * np.arctan2(y, x))
    tube, ribs = (torch.tensor(values, dtype=torch.float32) for values in (tube, ribs))
    assert float(non_axial(tube, 14.0).abs().max()) < 1e-3
    inside = torch.tensor(radius < 13.0)
    torch.testing.assert_close(non_axial(tube + ribs, 14.0)[inside], ribs[inside], atol=2e-3, rtol=0.0)
