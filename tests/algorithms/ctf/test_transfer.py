from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.ctf.phase import (
    astigmatism_components,
    ctf_phase,
    directional_defocus,
    principal_defoci,
)
from cryoloom.algorithms.ctf.transfer import ctf_1d, ctf_2d
from cryoloom.model import Ctf, Microscope

IDEAL = Microscope(spherical_aberration_mm=0.0, amplitude_contrast=0.0)


def test_zeros_without_aberration_lie_at_whole_turns():
    """chi = pi lambda df k^2 = n pi."""
    zeros = np.sqrt(np.arange(1, 6) / (IDEAL.wavelength_angstrom * 20000.0))
    assert_allclose(ctf_1d(zeros, 20000.0, IDEAL), 0, atol=1e-9)


def test_amplitude_contrast_is_the_value_at_zero_frequency():
    assert_allclose(ctf_1d(np.array([0.0]), 20000.0, Microscope(amplitude_contrast=0.07)), 0.07)


def test_underfocus_is_positive_at_low_frequency_and_overfocus_negative():
    low = np.array([0.005])
    assert ctf_1d(low, 20000.0, IDEAL) > 0
    assert ctf_1d(low, -20000.0, IDEAL) < 0


def test_phase_in_numbers():
    """300 kV, Cs 2.7 mm, 2 um, 5 A: with lambda 0.0196875 A, 49.480 - 0.518 + 0.100 rad."""
    chi = ctf_phase(np.array([0.04]), 20000.0, Microscope())
    assert_allclose(chi, [49.480 - 0.518 + 0.100], atol=2e-3)


def test_scherzer_balances_aberration_and_defocus():
    """At df = Cs lambda^2 k^2 / 2 the two terms cancel."""
    microscope = Microscope(amplitude_contrast=0.0)
    defocus = 0.5 * 2.7e7 * microscope.wavelength_angstrom**2 * 0.25**2
    assert_allclose(ctf_phase(np.array([0.0625]), defocus, microscope), 0, atol=1e-12)


def test_a_phase_plate_adds_its_shift():
    microscope = Microscope(amplitude_contrast=0.0)
    assert_allclose(ctf_1d(np.array([0.0]), 10000.0, microscope, phase_shift_deg=90.0), 1.0)


@pytest.mark.parametrize("angle_deg", [-60.0, 0.0, 25.0, 89.0])
def test_astigmatism_comes_back(angle_deg):
    components = astigmatism_components(21000.0, 19000.0, angle_deg)
    assert_allclose(principal_defoci(20000.0, *components), (21000.0, 19000.0, angle_deg))
    angle = np.deg2rad([angle_deg, angle_deg + 90])
    assert_allclose(directional_defocus(angle, 21000.0, 19000.0, angle_deg), (21000.0, 19000.0))


@pytest.mark.parametrize("shape", [(64, 64), (63, 64), (64, 63)])
def test_two_dimensional_function_has_u_along_its_angle(shape, device):
    ctf, microscope = Ctf(30000.0, 24000.0, 90.0), Microscope()
    image = ctf_2d(shape, 2.0, ctf, microscope, device=device).cpu().numpy()
    assert image.shape == (shape[0], shape[1] // 2 + 1)
    k_y, k_x = np.fft.fftfreq(shape[0], 2.0)[:20], np.fft.rfftfreq(shape[1], 2.0)[:20]
    # Phases of hundreds of radians in float32 frequencies: 1e-4 is their rounding.
    assert_allclose(image[1:20, 0], ctf_1d(k_y, 30000.0, microscope)[1:], atol=1e-3)
    assert_allclose(image[0, 1:20], ctf_1d(k_x, 24000.0, microscope)[1:], atol=1e-3)


def test_height_lowers_the_defocus():
    microscope = Microscope()
    raised = ctf_2d((32, 32), 3.0, Ctf(20000.0, 20000.0, 0.0), microscope, height_angstrom=500.0)
    assert_allclose(raised, ctf_2d((32, 32), 3.0, Ctf(19500.0, 19500.0, 0.0), microscope), atol=1e-6)


def test_wavelength_at_300_kv():
    assert math.isclose(Microscope().wavelength_angstrom, 0.0196875, rel_tol=1e-4)
