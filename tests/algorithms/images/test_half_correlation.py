"""Fourier shell correlation."""

from __future__ import annotations

import numpy as np
import torch

from cryoloom.algorithms.images.half_correlation import shell_correlation, smoothed_crossing_per_px


def test_same_is_one_and_noise_is_none(rng):
    one = torch.from_numpy(rng.standard_normal((32, 48, 40)).astype(np.float32))
    other = torch.from_numpy(rng.standard_normal((32, 48, 40)).astype(np.float32))
    frequency, same = shell_correlation(one, one, n_shells=10)
    np.testing.assert_allclose(same, 1, atol=1e-5)
    np.testing.assert_allclose(frequency, (np.arange(10) + 0.5) / 20)
    _, none = shell_correlation(one, other, n_shells=10)
    # The fourth shell on has over 2000 components: 4 standard deviations of a correlation of noise.
    assert float(none[3:].abs().max()) < 0.1


def test_half_noise_power_gives_a_half(rng):
    common, a, b = (torch.from_numpy(rng.standard_normal((32, 48, 40)).astype(np.float32)) for _ in range(3))
    _, correlation = shell_correlation(common + a, common + b, n_shells=10)
    np.testing.assert_allclose(correlation[4:], 0.5, atol=0.08)


def test_crossing_is_the_last_shell_above():
    frequency = torch.arange(6) / 10
    assert smoothed_crossing_per_px(frequency, torch.tensor([1, 1, 1, 0.0, 0, 0]), 0.4) == np.float32(0.2)
    assert smoothed_crossing_per_px(frequency, torch.ones(6), 0.4) == np.float32(0.5)
    assert smoothed_crossing_per_px(frequency, torch.zeros(6), 0.4) == 0
