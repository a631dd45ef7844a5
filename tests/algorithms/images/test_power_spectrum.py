from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.images.power_spectrum import SpectrumBand, tile_spectra

BAND = SpectrumBand(1 / 40, 1 / 6.0, n_rings=60, n_sectors=6)


def noise(rng: np.random.Generator, shape: tuple[int, int]) -> torch.Tensor:
    return torch.as_tensor(rng.standard_normal(shape), dtype=torch.float32)


def test_white_noise_has_its_variance_in_every_bin(rng):
    spectra = tile_spectra(3.0 * noise(rng, (512, 512)), 2.7, BAND, 350.0)
    weights = np.broadcast_to(spectra.counts, spectra.power.shape)
    # 4 % is three standard deviations of the mean of this many dependent values.
    assert_allclose(np.average(spectra.power, weights=weights), 9.0, rtol=0.04)


def test_independence_is_what_the_scatter_of_means_says(rng):
    """The variance of the mean power of an image is 1 / (tiles x frequencies x independence)."""
    means = []
    for _ in range(40):
        spectra = tile_spectra(noise(rng, (256, 256)), 2.7, BAND, 173.0)
        means.append((spectra.power.mean(axis=0) * spectra.counts).sum() / spectra.counts.sum())
    expected = 1.0 / (spectra.power.shape[0] * spectra.counts.sum() * spectra.independence)
    # The variance of 40 values is known to 22 % (one standard deviation).
    assert 0.5 < np.var(means) / expected < 1.7


def test_tiles_are_symmetric_about_the_centre_and_cover_the_image(rng):
    spectra = tile_spectra(noise(rng, (256, 384)), 2.0, BAND, 128.0)
    assert spectra.power.shape[0] == 7 * 11
    assert_allclose(spectra.centres_xy_angstrom.mean(axis=0), 0, atol=1e-9)
    # The edge of a tile is rounded up to a size that transforms fast.
    assert_allclose(spectra.centres_xy_angstrom.max(axis=0), (384 - 64, 256 - 64), atol=3.0)


@pytest.mark.parametrize("shape", [(256, 256), (255, 256), (256, 251)])
def test_a_wave_lands_in_its_ring_and_sector(shape):
    """A wave of 10 A along 30 degrees from +x; the image is finer than needed, so it is cropped first."""
    y, x = np.meshgrid(*(np.arange(n) * 1.5 for n in shape), indexing="ij")
    wave = np.cos(2 * np.pi / 10.0 * (x * np.cos(np.deg2rad(40)) + y * np.sin(np.deg2rad(40))))
    spectra = tile_spectra(torch.as_tensor(wave, dtype=torch.float32), 1.5, BAND, 300.0)
    sector, ring = np.unravel_index(np.argmax(spectra.power.mean(axis=0)), spectra.power.shape[1:])
    assert sector == 1
    assert abs(BAND.frequency[ring] - 0.1) < 0.005


def test_few_tiles_are_taken_where_asked_and_one_where_the_image_is_small(rng):
    assert tile_spectra(noise(rng, (512, 512)), 2.7, BAND, 173.0, max_tiles=20).power.shape[0] <= 20
    assert tile_spectra(noise(rng, (128, 128)), 2.7, BAND, 900.0).power.shape[0] == 1


@pytest.mark.parametrize("max_tiles", [10, 100])
def test_finer_pixels_change_nothing_in_the_band(rng, max_tiles):
    """Few tiles are transformed as they are, many from the image cropped in Fourier space: both are flat."""
    spectra = tile_spectra(noise(rng, (600, 600)), 1.3, BAND, 200.0, max_tiles)
    weights = np.broadcast_to(spectra.counts, spectra.power.shape)
    low, high = (
        np.average(spectra.power[..., k], weights=weights[..., k]) for k in (slice(30), slice(30, 60))
    )
    # Some 2000 independent values in each half.
    assert low / high == pytest.approx(1.0, abs=0.1)
