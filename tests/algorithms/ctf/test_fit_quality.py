from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.ctf.defocus_fit import DefocusFit, ring_template, whiten
from cryoloom.algorithms.ctf.fit_quality import RingProfile, fit_resolution_angstrom, ring_profile
from cryoloom.algorithms.ctf.series_model import defocus_slope
from cryoloom.algorithms.images.power_spectrum import SpectrumBand, tile_spectra
from cryoloom.model import Microscope
from makers.tilted_images import tilted_film

BAND = SpectrumBand(1 / 35, 1 / 6.0)


def profile_of(image, defocus_angstrom: float, tilt_deg: float) -> RingProfile:
    data = whiten(tile_spectra(torch.as_tensor(image), 2.7, BAND, 700.0), Microscope())
    slope = defocus_slope(0.0, tilt_deg, 0.0, 1)
    fit = DefocusFit(defocus_angstrom, 0.0, 0.0, 20.0, 20.0, 100.0)
    template = ring_template(data, np.full(BAND.n_rings, 0.2), defocus_angstrom, slope)
    return ring_profile(data, template, fit, slope)


@pytest.mark.parametrize("tilt_deg", [0.0, 50.0])
def test_rings_of_a_tilted_film_are_seen_to_the_end_of_the_band(tilt_deg, rng):
    image = tilted_film(rng, defocus_angstrom=25000.0, tilt_deg=tilt_deg, phase_rms_rad=0.15)
    profile = profile_of(image, 25000.0, tilt_deg)
    assert fit_resolution_angstrom(profile) < 7.0
    assert profile.correlation() > 0.8


def test_noise_shows_no_rings(rng):
    profile = profile_of(rng.poisson(20.0, (512, 512)).astype(np.float32), 25000.0, 0.0)
    resolution = fit_resolution_angstrom(profile)
    # Chance may raise the correlation of two rings at the very beginning, never of many.
    assert resolution is None or resolution > 15.0
    assert abs(profile.correlation()) < 0.3


def test_resolution_is_where_the_rings_end():
    phase = 2 * np.pi * np.arange(400) / 8
    frequency = np.sqrt(np.linspace(1 / 35**2, 1 / 5.0**2, 400))
    rings = np.cos(phase)
    noise = np.random.default_rng(3).standard_normal(400)
    spectrum = np.where(frequency < 0.1, rings, 0.0) + 0.1 * noise
    found = fit_resolution_angstrom(RingProfile(frequency, spectrum, 0.2 * rings, rings))
    # Half a window of two rings either way.
    assert found == pytest.approx(10.0, rel=0.06)


def test_the_wrong_defocus_is_seen_as_such(rng):
    image = tilted_film(rng, defocus_angstrom=25000.0)
    assert profile_of(image, 26500.0, 0.0).correlation() < 0.4
