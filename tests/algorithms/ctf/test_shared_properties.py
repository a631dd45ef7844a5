"""Thickness from the nodes of the rings: layers of scatterers, each at its own defocus."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cryoloom.algorithms.ctf.defocus_fit import DefocusFit, whiten
from cryoloom.algorithms.ctf.series_fit import fit_series
from cryoloom.algorithms.ctf.series_model import SeriesModel, TiltRings
from cryoloom.algorithms.ctf.shared_properties import common_value, thickness_of
from cryoloom.algorithms.images.power_spectrum import SpectrumBand, tile_spectra
from cryoloom.model import Microscope

BAND = SpectrumBand(1 / 35, 1 / 5.8)
DEFOCUS = 28000.0


def thick_film(rng, thickness: float, n_layers: int = 24) -> np.ndarray:
    """Counts of an untilted film whose scatterers lie at all depths."""
    n, pixel, microscope = 640, 2.7, Microscope()
    k2 = np.fft.fftfreq(n, pixel)[:, None] ** 2 + np.fft.rfftfreq(n, pixel) ** 2
    wave = microscope.wavelength_angstrom
    total = np.zeros((n, n))
    for depth in (np.arange(n_layers) + 0.5) / n_layers - 0.5:
        chi = math.pi * wave * (DEFOCUS + depth * thickness) * k2 - 0.5 * math.pi * 2.7e7 * wave**3 * k2**2
        layer = rng.standard_normal((n, n)) * 0.2 / math.sqrt(n_layers)
        total += np.fft.irfft2(np.fft.rfft2(layer) * np.sin(chi + math.asin(0.1)), s=(n, n))
    return rng.poisson(30.0 * np.clip(1 - 2 * total, 0, None)).astype(np.float32)


@pytest.mark.parametrize("thickness", [2200.0, 3200.0])
def test_the_nodes_tell_the_thickness(rng, thickness):
    tilts = [
        TiltRings(
            whiten(tile_spectra(torch.as_tensor(thick_film(rng, thickness)), 2.7, BAND, 700.0), Microscope()),
            i,
            0.0,
            0.0,
        )
        for i in range(3)
    ]
    found = fit_series(tilts, (22000.0, 34000.0), 1)
    assert found is not None
    assert found.thickness is not None
    assert found.thickness.sd_angstrom < 300
    assert abs(found.thickness.angstrom - thickness) < 3.5 * found.thickness.sd_angstrom
    nodes = found.model.nodes_per_angstrom(found.tilts[0])
    wave = Microscope().wavelength_angstrom
    # The inclination found, about a degree, lengthens the path a little.
    assert nodes[0] == pytest.approx(1 / math.sqrt(wave * found.model.thickness_angstrom), rel=0.01)


def test_without_rings_no_thickness_is_reported(rng):
    noise = torch.as_tensor(rng.poisson(20.0, (256, 256)).astype(np.float32))
    tilt = TiltRings(whiten(tile_spectra(noise, 2.7, BAND, 600.0), Microscope()), 0, 0.0, 0.0)
    unseen = DefocusFit(DEFOCUS, 0.0, 0.0, 500.0, 500.0, 1.0)
    assert thickness_of([tilt], SeriesModel(1, np.full(BAND.n_rings, 0.1)), [unseen]) is None


@pytest.mark.parametrize("true_spread", [0.0, 40.0, 300.0])
def test_a_common_value_and_how_much_it_varies(rng, true_spread):
    """Forty exposures, half of them steep and badly known."""
    errors = np.repeat([60.0, 200.0], 20)[:, None] * np.ones(2)
    truth = np.array([150.0, -250.0]) + true_spread * rng.normal(size=(40, 2))
    mean, spread = common_value(truth + errors * rng.normal(size=(40, 2)), errors**2, 30.0)
    # Four standard deviations of a mean over twenty good exposures.
    assert np.abs(mean - [150.0, -250.0]).max() < 4 * np.hypot(60.0, true_spread) / np.sqrt(20)
    # Of none the lower end of what is thought possible is found, or nearly: drawn together to a sixth.
    assert 0.6 * true_spread <= spread <= max(1.4 * true_spread, 0.4 * 60.0)
