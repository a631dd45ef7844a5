from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.ctf.defocus_fit import (
    defocus_gains,
    local_rings,
    refine_defocus,
    ring_template,
    search_sums,
    search_table,
    tile_offsets,
    whiten,
)
from cryoloom.algorithms.ctf.series_model import defocus_slope
from cryoloom.algorithms.images.power_spectrum import SpectrumBand, tile_spectra
from cryoloom.model import Microscope
from makers.exact_rings import BAND as EXACT_BAND
from makers.exact_rings import exact_rings
from makers.tilted_images import tilted_film

BAND = SpectrumBand(1 / 35, 1 / 6.0)
WIDE = (1e5, 500.0, 500.0)


def whitened(image, modulation=None):
    return whiten(tile_spectra(torch.as_tensor(image), 2.7, BAND, 700.0), Microscope(), modulation)


@pytest.mark.parametrize(("tilt_deg", "axis_deg"), [(0.0, 0.0), (45.0, 85.0), (-55.0, 10.0)])
def test_recovers_defocus_and_astigmatism_of_a_tilted_film(tilt_deg, axis_deg, rng):
    image = tilted_film(
        rng,
        defocus_angstrom=30000.0,
        tilt_deg=tilt_deg,
        axis_deg=axis_deg,
        astigmatism_angstrom=(250.0, -150.0),
    )
    data, slope = whitened(image), defocus_slope(axis_deg, tilt_deg, 0.0, 1)
    template = ring_template(data, np.full(BAND.n_rings, 0.25), 30000.0, slope)
    rings = local_rings(data, template, 30000.0, slope)
    fit = refine_defocus(rings, (30250.0, 0.0, 0.0), slope, (30000.0, 0.0, 0.0), WIDE)
    # Four standard deviations by the Fisher information.
    assert abs(fit.defocus_angstrom - 30000.0) < 4 * fit.sd_angstrom < 300.0
    assert_allclose((fit.axial_angstrom, fit.diagonal_angstrom), (250.0, -150.0), atol=120.0)


def test_the_wrong_slope_loses_the_rings(rng):
    data = whitened(tilted_film(rng, defocus_angstrom=30000.0, tilt_deg=50.0))
    gains = []
    for hand in (1, -1):
        slope = defocus_slope(0.0, 50.0, 0.0, hand)
        template = ring_template(data, np.full(BAND.n_rings, 0.25), 30000.0, slope)
        rings = local_rings(data, template, 30000.0, slope)
        gains.append(rings.at(30000.0, 0.0, 0.0, slope)[0])
    assert gains[0] > gains[1] + 50


def test_search_finds_the_defocus_in_a_wide_range(rng):
    data = whitened(tilted_film(rng, defocus_angstrom=42000.0, tilt_deg=40.0))
    slope = defocus_slope(0.0, 40.0, 0.0, 1)
    grid = np.arange(5000.0, 80000.0, 100.0)
    template = ring_template(data, np.full(BAND.n_rings, 0.2), grid, slope)
    table = search_table(data, template, torch.as_tensor(grid, dtype=torch.float32))
    gains = defocus_gains(table, 100.0, tile_offsets(data, slope, 0.0, 0.0))
    assert abs(grid[int(torch.argmax(gains))] - 42000.0) <= 200.0


def test_sums_of_tiles_of_one_offset_give_the_gains_of_the_table(rng):
    data = whitened(tilted_film(rng, defocus_angstrom=30000.0, tilt_deg=50.0))
    grid = np.arange(5000.0, 60000.0, 100.0)
    places = torch.as_tensor(grid, dtype=torch.float32)
    slope = defocus_slope(0.0, 50.0, 0.0, 1)
    offsets = [tile_offsets(data, hand * slope, 300.0, -200.0) for hand in (1, -1)]
    both = search_sums(
        data, ring_template(data, np.full(BAND.n_rings, 0.2), grid, slope), places, 100.0, offsets
    )
    for strength in (0.2, 0.05):
        table = search_table(data, ring_template(data, np.full(BAND.n_rings, strength), grid, slope), places)
        for sums, moved in zip(both, offsets, strict=True):
            expected = defocus_gains(table, 100.0, moved).numpy()
            assert_allclose(sums.gains(strength / 0.2), expected, atol=1e-3 * np.abs(expected).max())


def test_local_tables_agree_with_their_own_derivative(rng):
    data = whitened(tilted_film(rng, defocus_angstrom=20000.0))
    slope = np.array([0.2, -0.1])
    rings = local_rings(data, ring_template(data, np.full(BAND.n_rings, 0.2), 20000.0, slope), 20000.0, slope)
    # On grid points look-ups are exact; a central difference over two steps of 50 angstrom tells the slope.
    above, below = (rings.at(20200.0 + d, 0.0, 0.0, np.zeros(2))[0] for d in (50.0, -50.0))
    _, score, information = rings.at(20200.0, 0.0, 0.0, np.zeros(2))
    assert_allclose(float(score.sum()), (above - below) / 100.0, rtol=0.03, atol=2e-3)
    assert float(information.min()) >= 0


def test_the_background_is_flat_after_whitening_whatever_its_shape(rng):
    y, x = np.meshgrid(np.fft.fftfreq(512), np.fft.fftfreq(512), indexing="ij")
    coloured = np.fft.ifft2(np.fft.fft2(rng.standard_normal((512, 512))) / (0.02 + np.hypot(x, y))).real
    data = whitened(coloured.astype(np.float32))
    radial = (data.residual.mean(dim=0) * data.weight).sum(dim=0) / data.weight.sum(dim=0)
    smooth = np.convolve(radial.numpy(), np.ones(40) / 40, "valid")
    # The lowest frequencies, where tapers leak, are allowed more.
    assert np.abs(smooth[20:]).max() < 0.06


def test_noise_alone_gives_no_gain(rng):
    data = whitened(rng.poisson(20.0, (512, 512)).astype(np.float32))
    template = ring_template(data, np.full(BAND.n_rings, 0.1), 30000.0, np.zeros(2))
    gain = local_rings(data, template, 30000.0, np.zeros(2)).at(30000.0, 0.0, 0.0, np.zeros(2))[0]
    assert gain < 4.0


def test_rings_that_are_expected_move_neither_background_nor_levels():
    spectra = exact_rings(np.array([30000.0]), np.array([0.0]), (0.0,))[0][1]
    n_tiles = len(spectra.power)
    # Slow enough for the levels to follow, and another in every tile.
    rings = 0.5 * np.cos(0.03 * np.arange(EXACT_BAND.n_rings) + np.arange(n_tiles)[:, None])[:, None, :]
    rings = np.broadcast_to(rings, spectra.power.shape)
    data = whiten(replace(spectra, power=(3.0 * (1 + rings)).astype(np.float32)), Microscope(), rings)
    seen = (data.weight > 0).expand_as(data.residual)
    assert_allclose(data.residual[seen], torch.as_tensor(rings.copy())[seen], atol=2e-3)


def test_frequencies_that_scatter_more_weigh_less(rng):
    spectra = exact_rings(np.array([30000.0]), np.array([0.0]), (0.0,))[0][1]
    spread = np.where(np.arange(EXACT_BAND.n_rings) < 80, 2.0, 1.0)
    power = rng.gamma(1 / spread**2, spread**2, spectra.power.shape).astype(np.float32)
    data = whiten(replace(spectra, power=power), Microscope(), np.zeros(power.shape))
    weight = data.weight.sum(dim=0).numpy() / np.maximum(spectra.counts.sum(axis=0), 1)
    # Four times the variance.
    assert weight[10:60].mean() < 0.4 * weight[-300:].mean()
