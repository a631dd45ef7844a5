"""Correction of the contrast transfer at every pixel's own defocus."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.ctf.correction import Correction, correct_image, linear_depth_step_angstrom
from cryoloom.algorithms.ctf.phase import ctf_phase
from cryoloom.algorithms.ctf.transfer import ctf_2d
from cryoloom.model import Ctf, Microscope

SCOPE = Microscope()
ASTIGMATIC = Ctf(31000.0, 29000.0, 40.0)
FLAT = (0.0, 0.0, 0.0)


@pytest.mark.parametrize("method", ["phase_flip", "multiply", "wiener"])
@pytest.mark.parametrize("shape", [(200, 240), (181, 230)])
def test_a_flat_image_is_its_spectrum_times_the_correction(method, shape, rng):
    image = torch.from_numpy(rng.standard_normal(shape).astype(np.float32)) + 20
    correction = Correction(method)
    found = correct_image(
        image, 5.0, ASTIGMATIC, SCOPE, correction, defocus_loss_angstrom=FLAT, step_angstrom=500
    )
    mean = image.mean()
    direct = torch.fft.irfft2(
        torch.fft.rfft2(image - mean) * correction.of(ctf_2d(shape, 5.0, ASTIGMATIC, SCOPE)), s=shape
    )
    inside = (slice(70, -70), slice(70, -70))
    # What lies beyond the border differs and reaches inside: in white noise the jumps of a sign at radius k
    # leave 8 k / pi R of their energy beyond a distance R: 7 % for six of them and 40 pixels.
    error = (found - mean - direct)[inside]
    assert float(error.std()) < (0.3 if method == "phase_flip" else 0.05) * float(direct.std())
    assert float(found.mean()) == pytest.approx(float(mean), abs=0.01)


def test_the_factors():
    ctf = torch.tensor([-0.5, 0.0, 1.0])
    assert Correction("phase_flip").of(ctf).tolist() == [-1, 1, 1]
    assert Correction("multiply").of(ctf).tolist() == [-0.5, 0, 1]
    np.testing.assert_allclose(Correction("wiener", 4.0).of(ctf), [-1, 0, 0.8])


def test_a_wave_is_corrected_at_the_defocus_of_its_place():
    # A plane wave over a field whose defocus falls by 2.5 angstrom per angstrom towards +x, 0.5 towards +y.
    pixel, n, wavelength = 4.0, 600, 14.0
    plane = (150.0, 2.5, 0.5)
    y, x = np.mgrid[:n, :n].astype(float)
    height = plane[0] + ((x - n // 2) * plane[1] + (y - n // 2) * plane[2]) * pixel
    wave = np.cos(2 * np.pi * (0.6 * x + 0.8 * y) * pixel / wavelength)
    step = linear_depth_step_angstrom(wavelength, SCOPE)
    found = correct_image(
        torch.from_numpy(wave.astype(np.float32)),
        pixel,
        ASTIGMATIC,
        SCOPE,
        Correction("multiply"),
        defocus_loss_angstrom=plane,
        step_angstrom=step,
    ).numpy()
    # Defocus along the wave's own direction: 53.13 degrees from x, the larger defocus lies at 40.
    defocus = 30000 + 1000 * np.cos(2 * (np.arctan2(0.8, 0.6) - np.deg2rad(40))) - height
    expected = np.sin(ctf_phase(np.float64(wavelength**-2), defocus, SCOPE)) * wave
    inside = (slice(80, -80), slice(80, -80))
    # A hundredth of interpolation in depth, and as much again where pieces of waves meet mirrored borders.
    assert np.abs(found - expected)[inside].max() < 0.03
    constant = np.sin(ctf_phase(np.float64(wavelength**-2), 30000.0, SCOPE)) * wave
    assert np.abs(constant - expected)[inside].max() > 0.5


def test_finer_detail_wants_thinner_steps():
    assert linear_depth_step_angstrom(10.0, SCOPE) == pytest.approx(
        4 * linear_depth_step_angstrom(5.0, SCOPE)
    )
    assert linear_depth_step_angstrom(10.0, SCOPE) == pytest.approx(457, abs=2)
