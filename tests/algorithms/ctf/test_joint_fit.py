"""Defoci and phase shifts from spectra that are the model's own: backgrounds and strength mislead neither."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.ctf.defocus_fit import DefocusFit, whiten
from cryoloom.algorithms.ctf.defocus_prior import defocus_covariance
from cryoloom.algorithms.ctf.joint_fit import refine_jointly
from cryoloom.algorithms.ctf.phase_shift import phase_shift_covariance
from cryoloom.algorithms.ctf.series_fit import fit_series
from cryoloom.algorithms.ctf.series_model import SeriesModel
from cryoloom.model import Microscope
from makers.exact_rings import ASTIGMATISM_ANGSTROM, BAND, THICKNESS_ANGSTROM, exact_rings, modulation

TILTS = (0.0, 3.0, -3.0, 20.0, -20.0)
DEFOCI = 30000.0 + np.array([0.0, 200.0, -200.0, 100.0, -100.0])
SHIFTS = np.linspace(60.0, 66.0, len(TILTS))
FIRST_MODEL = SeriesModel(
    1,
    0.1 * np.exp(-64 * BAND.squared_frequency),
    THICKNESS_ANGSTROM,
    astigmatism_angstrom=ASTIGMATISM_ANGSTROM,
)


def fits_at(defoci) -> list[DefocusFit]:
    return [DefocusFit(float(defocus), *ASTIGMATISM_ANGSTROM, 50.0, 50.0, 100.0) for defocus in defoci]


def with_shifts(tilts, shifts_deg):
    return [
        replace(tilt, data=replace(tilt.data, phase_shift_deg=float(shift)))
        for tilt, shift in zip(tilts, shifts_deg, strict=True)
    ]


@pytest.mark.parametrize("plate", [True, False])
def test_a_fit_to_exact_spectra_is_exact(plate):
    shifts = SHIFTS if plate else np.zeros(len(TILTS))
    made = exact_rings(DEFOCI, shifts, TILTS)
    found = fit_series(
        [tilt for tilt, _ in made],
        (27000.0, 33000.0),
        1,
        lambda i, modulation: whiten(made[i][1], Microscope(), modulation),
        fit_phase_shift=plate,
    )
    assert found is not None
    # The prior draws exposures together, but leaves their mean alone.
    errors = np.array([fit.defocus_angstrom for fit in found.fits]) - DEFOCI
    off = np.array([tilt.data.phase_shift_deg for tilt in found.tilts]) - shifts
    assert abs(errors.mean()) < 5.0
    assert abs(off.mean()) < 0.1
    assert_allclose(errors, 0.0, atol=100.0)
    assert_allclose(off, 0.0, atol=1.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_errors_are_as_large_as_reported(seed):
    made = exact_rings(DEFOCI, SHIFTS, TILTS, np.random.default_rng(seed))
    tilts = with_shifts([tilt for tilt, _ in made], SHIFTS + 4.0)
    model, defoci = FIRST_MODEL, DEFOCI - 150.0
    jitter = np.full(len(TILTS), 300.0)
    found = refine_jointly(
        tilts, model, fits_at(defoci), defocus_covariance(tilts, jitter), phase_shift_covariance(tilts)
    )
    phase_sd_deg = np.sqrt(found.phase_covariance.diagonal())
    assert (phase_sd_deg < 6.0).all()
    # Four of the standard deviations reported; errors are correlated between exposures.
    assert np.abs((found.phase_shift_deg - SHIFTS) / phase_sd_deg).max() < 4.0
    assert np.abs((found.defocus_angstrom - DEFOCI) / found.defocus_sd_angstrom).max() < 4.0


def test_phase_shifts_are_kept_where_they_are_known():
    made = exact_rings(DEFOCI, SHIFTS, TILTS)
    tilts = with_shifts([tilt for tilt, _ in made], SHIFTS)
    found = refine_jointly(
        tilts, FIRST_MODEL, fits_at(DEFOCI + 100.0), defocus_covariance(tilts, np.full(len(TILTS), 300.0))
    )
    assert_allclose(found.phase_shift_deg, SHIFTS)
    assert_allclose(found.defocus_angstrom, DEFOCI, atol=60.0)


def test_the_astigmatism_of_all_moves_to_the_true_one():
    made = exact_rings(DEFOCI, SHIFTS, TILTS)
    tilts = with_shifts([tilt for tilt, _ in made], SHIFTS)
    wrong = np.add(ASTIGMATISM_ANGSTROM, (80.0, -120.0))
    model = replace(FIRST_MODEL, astigmatism_angstrom=(float(wrong[0]), float(wrong[1])))
    fits = [
        replace(fit, axial_angstrom=wrong[0], diagonal_angstrom=wrong[1]) for fit in fits_at(DEFOCI + 100.0)
    ]
    found = refine_jointly(tilts, model, fits, defocus_covariance(tilts, np.full(len(TILTS), 300.0)))
    assert_allclose(found.model.astigmatism_angstrom, ASTIGMATISM_ANGSTROM, atol=8.0)
    assert_allclose(found.defocus_angstrom, DEFOCI, atol=60.0)


def test_rings_that_fade_with_dose_mislead_no_phase_shift():
    tilts_deg = (0.0, 3.0, -3.0, 12.0, -12.0, 20.0, -20.0)
    defoci, shifts = np.full(len(tilts_deg), 30000.0), np.full(len(tilts_deg), 60.0)
    made = exact_rings(defoci, shifts, tilts_deg, damage_angstrom2=120.0)
    # A usual series' length, that the last is as damaged as its end.
    tilts = [replace(tilt, acquisition_index=6 * i) for i, (tilt, _) in enumerate(made)]
    tilts = with_shifts(tilts, shifts + 3.0)
    found = refine_jointly(
        tilts,
        FIRST_MODEL,
        fits_at(defoci - 100.0),
        defocus_covariance(tilts, np.full(len(tilts), 300.0)),
        phase_shift_covariance(tilts),
    )
    # One curve of strength for all erred by -2.6 to 0.9 degrees and 125 to -84 A along the series. What is
    # left is of all exposures: levels of tiles were estimated as if there were no rings.
    assert np.ptp(found.phase_shift_deg) < 0.5
    assert_allclose(found.phase_shift_deg, shifts, atol=1.0)
    assert_allclose(found.defocus_angstrom, defoci, atol=40.0)
    first, last = (found.model.strength(tilts[i]) / modulation() for i in (0, -1))
    fine = np.searchsorted(BAND.frequency, 1 / 12.0)
    assert last[fine] < 0.7 * first[fine]
