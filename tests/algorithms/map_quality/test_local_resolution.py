"""A map whose one side has more noise: where signal and noise are equal, halves correlate by 0.5."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.averaging.shell_correlation import soft_sphere
from cryoloom.algorithms.map_quality.local_resolution import local_resolution

N, VOXEL = 48, 3.0


def test_the_side_with_more_noise_has_the_lower_resolution(rng):
    axes = np.fft.fftfreq(N, VOXEL), np.fft.rfftfreq(N, VOXEL)
    squared = axes[0][:, None, None] ** 2 + axes[0][None, :, None] ** 2 + axes[1][None, None] ** 2
    # Amplitude 1 of white noise, times exp(-(15 A k)^2 / 2).
    spectrum = np.fft.rfftn(rng.standard_normal((N,) * 3)) * np.exp(-(15.0**2) * squared / 2)
    signal = np.fft.irfftn(spectrum, s=(N,) * 3, axes=(0, 1, 2))
    noise = np.where(np.arange(N) < N // 2, 0.1, 0.6)
    halves = [torch.tensor(signal + noise * rng.standard_normal((N,) * 3)).float() for _ in range(2)]
    mask = soft_sphere(N, 18.0, 3.0)
    found = local_resolution((halves[0], halves[1]), mask, VOXEL, 9.0)
    assert found.window_sd_angstrom == 13.5
    middle = found.map[20:28, 20:28]
    # A window holds few samples of a band, so that the correlation may fall early.
    for columns, level in ((slice(8, 15), 0.1), (slice(33, 40), 0.6)):
        expected = 15.0 / np.sqrt(-2 * np.log(level))  # 7.0 and 14.8 A
        assert np.median(middle[..., columns]) == pytest.approx(expected, rel=0.35)
    assert np.isnan(found.map[0, 0, 0])
    assert np.isfinite(found.map[mask.numpy() > 0.5]).all()


def test_nothing_finer_than_the_last_shell_is_given(rng):
    white = torch.tensor(rng.standard_normal((N,) * 3), dtype=torch.float32)
    found = local_resolution((white, white), soft_sphere(N, 18.0, 3.0), VOXEL, 6.0)
    assert np.nanmin(found.map) > 5.4  # the middle of the last band, just below 2 voxels
    assert np.nanmax(found.map) < 7.0
