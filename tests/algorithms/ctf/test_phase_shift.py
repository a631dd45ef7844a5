"""Phase shifts are found together with the defocus, and predicted where an exposure is silent."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.ctf.defocus_fit import whiten
from cryoloom.algorithms.ctf.phase_shift import (
    MOST_JITTER_DEG,
    likeliest_jitter_deg,
    phase_shift_covariance,
)
from cryoloom.algorithms.ctf.series_fit import fit_series
from cryoloom.algorithms.ctf.series_model import TiltRings
from cryoloom.algorithms.images.power_spectrum import SpectrumBand, tile_spectra
from cryoloom.model import Microscope
from makers.tilted_images import tilted_film

BAND = SpectrumBand(1 / 35, 1 / 6.0)
ANGLES = (0.0, 15.0, -15.0, 30.0, -30.0)
SHIFTS = np.array([62.0, 66.0, 71.0, 74.0, 80.0])
DEFOCI = 12000.0 + np.array([0.0, 150.0, -200.0, 100.0, -50.0])
NEAR = (8000.0, 18000.0)


@pytest.fixture(scope="module")
def tilts() -> list[TiltRings]:
    rng = np.random.default_rng(5)
    found = []
    for i, angle in enumerate(ANGLES):
        # A phase plate adds to the phase that amplitude contrast stands for: 90 degrees of both is its limit.
        both = math.radians(SHIFTS[i]) + math.asin(0.1)
        image = tilted_film(
            rng,
            defocus_angstrom=DEFOCI[i],
            tilt_deg=angle,
            phase_rms_rad=0.15,
            amplitude_contrast=math.sin(both),
        )
        data = whiten(tile_spectra(torch.as_tensor(image), 2.7, BAND, 700.0), Microscope())
        found.append(TiltRings(data, i, angle, 0.0))
    return found


def test_finds_phase_shift_and_defocus_of_every_exposure(tilts):
    found = fit_series(tilts, NEAR, 1, fit_phase_shift=True)
    assert found is not None
    # About three standard deviations: 4 degrees and 70 angstrom, as the two go together.
    assert_allclose([tilt.data.phase_shift_deg for tilt in found.tilts], SHIFTS, atol=12.0)
    assert_allclose([fit.defocus_angstrom for fit in found.fits], DEFOCI, atol=250.0)


def test_a_known_phase_shift_is_kept(tilts):
    known = [
        replace(tilt, data=replace(tilt.data, phase_shift_deg=float(shift)))
        for tilt, shift in zip(tilts, SHIFTS, strict=True)
    ]
    found = fit_series(known, NEAR, 1)
    assert found is not None
    assert [tilt.data.phase_shift_deg for tilt in found.tilts] == list(SHIFTS)
    assert_allclose([fit.defocus_angstrom for fit in found.fits], DEFOCI, atol=120.0)


def test_a_silent_exposure_gets_the_phase_shift_of_the_others(tilts, rng):
    noise = torch.as_tensor(rng.poisson(20.0, (512, 512)).astype(np.float32))
    silent = replace(tilts[2], data=whiten(tile_spectra(noise, 2.7, BAND, 700.0), Microscope()))
    found = fit_series([*tilts[:2], silent, *tilts[3:]], NEAR, 1, fit_phase_shift=True)
    assert found is not None
    assert found.predicted[2]
    assert abs(found.tilts[2].data.phase_shift_deg - SHIFTS[2]) < 10.0


@pytest.mark.parametrize(("true_deg", "allowed_deg"), [(0.5, (0.5, 1.5)), (3.0, (2.0, 4.0))])
def test_the_jitter_of_the_phase_shifts_is_learnt(tilts, true_deg, allowed_deg):
    rng = np.random.default_rng(3)
    many = [replace(tilts[0], acquisition_index=i) for i in range(40)]
    level = 60.0 + 0.5 * np.arange(40)
    measured = level + rng.normal(0, true_deg, 40) + rng.normal(0, 1.0, 40)
    # The posterior under the widest jitter of measurements with a deviation of one degree.
    prior = phase_shift_covariance(many)
    covariance = np.linalg.inv(np.linalg.inv(prior) + np.eye(40))
    found = likeliest_jitter_deg(many, covariance @ measured, covariance, MOST_JITTER_DEG)
    assert allowed_deg[0] <= found <= allowed_deg[1]
