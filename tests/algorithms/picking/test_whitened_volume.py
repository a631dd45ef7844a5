"""A tomogram made coarser about its centre, and whitened."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.picking.whitened_volume import coarser_volume, whitened
from cryoloom.geometry.frames import position_from_index


@pytest.mark.parametrize("binning", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(24, 31, 40), (27, 32, 45)])
def test_places_stay_where_they_are(shape, binning):
    """A plane wave's phase tells the place of every voxel: a ramp is its own mean about each centre."""
    x, y, z = (np.arange(n) - n // 2 for n in shape[::-1])
    ramp = (z[:, None, None] + 100 * y[:, None] + 10_000 * x).astype(np.float32)
    coarse = coarser_volume(ramp, binning)
    index = np.argwhere(np.ones(coarse.shape, bool))
    places = position_from_index(index, coarse.shape, float(binning))
    expected = places @ np.array([10_000.0, 100.0, 1.0])
    assert_allclose(coarse.reshape(-1), expected, rtol=1e-5, atol=0.05)
    lost = np.array(shape) - binning * np.array(coarse.shape)
    assert lost.max() <= 2 * binning


def test_white_noise_stays_white_and_a_trend_disappears(rng):
    radius = np.sqrt(
        np.fft.fftfreq(32)[:, None, None] ** 2
        + np.fft.fftfreq(48)[None, :, None] ** 2
        + np.fft.rfftfreq(48)[None, None] ** 2
    )
    white = torch.fft.rfftn(torch.from_numpy(rng.normal(0, 1, (32, 48, 48)))).numpy()
    coloured = torch.fft.irfftn(torch.from_numpy(white * np.exp(-5 * radius)), s=(32, 48, 48)).numpy()
    trend = 50 * np.cos(2 * np.pi * np.arange(48) / 48)
    made = whitened((coloured + trend).astype(np.float32), 12.0)
    spectrum = torch.fft.rfftn(made).abs().square().numpy()
    low, high = (spectrum[(radius > a) & (radius < b)].mean() for a, b in ((0.2, 0.25), (0.35, 0.4)))
    assert low == pytest.approx(high, rel=0.1)
    assert spectrum[0, 0, 1] < 0.3 * high
    assert spectrum[radius > 0.47].max() < 1e-6 * high


def test_matter_becomes_positive(rng):
    volume = rng.normal(0, 1, (24, 24, 24)).astype(np.float32)
    volume[10, 12, 8] -= 60
    made = whitened(volume, 30.0).numpy()
    assert np.unravel_index(made.argmax(), made.shape) == (10, 12, 8)
