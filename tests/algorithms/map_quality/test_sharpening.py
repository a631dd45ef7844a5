"""B-factors planted in noise and taken off again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.map_quality.sharpening import (
    fit_b_factor,
    radial_amplitude,
    reference_correlation,
    sharpened,
)

N, VOXEL, B = 64, 1.5, 120.0


def blurred_noise(rng):
    """White structure with a B-factor of 120 A^2."""
    axes = np.fft.fftfreq(N, VOXEL), np.fft.rfftfreq(N, VOXEL)
    squared = axes[0][:, None, None] ** 2 + axes[0][None, :, None] ** 2 + axes[1][None, None] ** 2
    spectrum = np.fft.rfftn(rng.standard_normal((N,) * 3)) * np.exp(-B * squared / 4)
    return torch.tensor(np.fft.irfftn(spectrum, s=(N,) * 3, axes=(0, 1, 2)), dtype=torch.float32)


def test_the_planted_b_factor_is_found(rng):
    fit = fit_b_factor(radial_amplitude(blurred_noise(rng)), N * VOXEL, 3.5)
    assert fit is not None
    assert fit.b_factor_angstrom2 == pytest.approx(B, abs=8.0)
    assert_allclose(fit.fitted[10:], fit.log_amplitude[10:], atol=0.15)


def test_too_few_shells_have_no_b_factor(rng):
    amplitude = radial_amplitude(blurred_noise(rng))
    assert fit_b_factor(amplitude, N * VOXEL, 9.5) is None


def test_a_sharpened_map_is_white_to_its_resolution_and_empty_beyond(rng):
    made = sharpened(blurred_noise(rng), VOXEL, np.ones(N // 2 + 1), B, 4.0)
    amplitude = radial_amplitude(made)
    cut = round(N * VOXEL / 4.0)
    inside = amplitude[4 : cut - 2]
    assert inside.std() / inside.mean() < 0.1
    assert amplitude[cut + 3 :].max() < 1e-3 * inside.mean()


def test_the_detector_s_transfer_is_divided_out_down_to_a_tenth(rng):
    density, weight = blurred_noise(rng), np.ones(N // 2 + 1)
    plain = radial_amplitude(sharpened(density, VOXEL, weight, 0.0, 4.0))
    halved = radial_amplitude(sharpened(density, VOXEL, weight, 0.0, 4.0, np.full(N // 2 + 1, 0.5)))
    least = radial_amplitude(sharpened(density, VOXEL, weight, 0.0, 4.0, np.full(N // 2 + 1, 0.01)))
    assert_allclose(halved[1:15], 2 * plain[1:15], rtol=1e-4)
    assert_allclose(least[1:15], 10 * plain[1:15], rtol=1e-4)


def test_the_whole_map_correlates_better_than_its_halves():
    found = reference_correlation(np.array([-0.2, 0.0, 0.143, 0.5, 1.0]))
    assert_allclose(found, [0.0, 0.0, 0.5, np.sqrt(2 / 3), 1.0], atol=2e-3)
