"""The picture of a spectrum: measured rings on the left meet the model's on the right."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.ctf.phase import ctf_phase, directional_defocus
from cryoloom.model import Ctf, Microscope
from cryoloom.views.spectra import PICTURE_PX, ctf_model_image, spectrum_image, spectrum_with_fit

PIXEL = 2.5
CTF = Ctf(24000.0, 21000.0, 30.0)


def noise_with_rings(rng, shape, ctf):
    """White noise through the CTF, with some noise of the camera."""
    y, x = (np.fft.fftfreq(n, PIXEL) for n in shape)
    y, x = np.meshgrid(y, x, indexing="ij")
    defocus = directional_defocus(
        np.arctan2(y, x), ctf.defocus_u_angstrom, ctf.defocus_v_angstrom, ctf.astigmatism_angle_deg
    )
    transfer = np.sin(ctf_phase(x**2 + y**2, defocus, Microscope(), ctf.phase_shift_deg))
    image = np.fft.ifft2(np.fft.fft2(rng.normal(size=shape)) * transfer).real
    return (image + 0.3 * rng.normal(size=shape)).astype(np.float32)


def agreement(measured, edge, ctf):
    """Correlation of measured and modelled rings between 30 and 6 angstrom."""
    model = ctf_model_image(PICTURE_PX, edge, ctf, Microscope())
    along = np.arange(PICTURE_PX) + 0.5 - PICTURE_PX / 2
    frequency = np.hypot(*np.meshgrid(along, along)) / (PICTURE_PX / 2) / edge
    band = (frequency > 1 / 30) & (frequency < 1 / 6)
    return np.corrcoef(measured[band], model[band])[0, 1]


@pytest.mark.parametrize("shape", [(768, 900), (600, 513)])
def test_measured_rings_are_those_of_the_ctf(rng, shape):
    measured, edge = spectrum_image(noise_with_rings(rng, shape, CTF), PIXEL)
    assert measured.shape == (PICTURE_PX, PICTURE_PX)
    assert edge == pytest.approx(2 * PIXEL, rel=0.01)  # Nyquist's: coarser than the finest that is shown
    right = agreement(measured, edge, CTF)
    assert right > 0.4
    assert agreement(measured, edge, Ctf(24000.0, 21000.0, -60.0)) < 0.5 * right  # turned by a quarter
    assert agreement(measured, edge, Ctf(27000.0, 24000.0, 30.0)) < 0.5 * right


def test_the_halves_are_measured_and_modelled(rng):
    image = noise_with_rings(rng, (640, 640), CTF)
    joined, edge = spectrum_with_fit(image, PIXEL, CTF, Microscope())
    half = PICTURE_PX // 2
    assert_allclose(joined[:, :half], spectrum_image(image, PIXEL)[0][:, :half])
    assert_allclose(joined[:, half:], ctf_model_image(PICTURE_PX, edge, CTF, Microscope())[:, half:])
    assert_allclose(spectrum_with_fit(image, PIXEL, None, Microscope())[0], spectrum_image(image, PIXEL)[0])


def test_fine_pixels_are_cut_at_the_finest_resolution_shown(rng):
    _, edge = spectrum_image(rng.normal(size=(512, 512)).astype(np.float32), 1.0)
    assert edge == pytest.approx(4.0, rel=0.02)


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_an_image_without_anything_gives_a_picture_of_nothing(fill):
    measured, _ = spectrum_image(np.full((64, 80), fill, np.float32), PIXEL)
    assert np.isfinite(measured).all()
