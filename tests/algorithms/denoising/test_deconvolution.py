import numpy as np
import pytest

from cryoloom.algorithms.ctf.transfer import ctf_1d
from cryoloom.algorithms.denoising.deconvolution import deconvolution_filter, filter_reach_px, filtered_volume
from cryoloom.model import Microscope

SETTINGS = {"strength": 1.0, "falloff": 0.7, "highpass_fraction": 0.02}


def test_the_filter_follows_its_formula():
    response, transfer = deconvolution_filter(10.0, 40000.0, Microscope(), **SETTINGS)
    x = np.linspace(0, 1, 2048)
    np.testing.assert_allclose(transfer, ctf_1d(x / 20, 40000.0, Microscope()))
    at = 700
    noise = 1 / (np.exp(-100 * x[at] * 0.7 / 10) * 1e3 * 2)
    assert response[at] == pytest.approx(transfer[at] / (transfer[at] ** 2 + noise))
    assert response[0] == 0.0


def test_the_high_pass_rises_to_two():
    """1 - cos(pi x / highpass): at the end of the high-pass, and beyond, the ratio is doubled."""
    flat = {"strength": 0.0, "falloff": 0.0, "highpass_fraction": 0.5}
    response, transfer = deconvolution_filter(10.0, 20000.0, Microscope(), **flat)
    np.testing.assert_allclose(response[1200:], (transfer / (transfer**2 + 0.5))[1200:])
    without, transfer = deconvolution_filter(10.0, 2e4, Microscope(), **(flat | {"highpass_fraction": 0.0}))
    np.testing.assert_allclose(without, transfer / (transfer**2 + 0.5))


def test_dense_matter_stays_dark_and_flipped_phases_stay_flipped():
    response, transfer = deconvolution_filter(10.0, 60000.0, Microscope(), **SETTINGS)
    flipped, modulus = deconvolution_filter(10.0, 60000.0, Microscope(), **SETTINGS, is_phase_flipped=True)
    assert response[40] > 0
    assert transfer.min() < -0.5
    assert flipped.min() >= 0
    np.testing.assert_allclose(modulus, np.abs(transfer))


def test_strong_signal_is_restored(rng):
    """Where the ratio is high and the CTF is not near zero, the filter undoes the CTF."""
    volume = rng.standard_normal((24, 24, 24)).astype(np.float32)
    strong = {"strength": 2.5, "falloff": 0.0, "highpass_fraction": 0.0}
    response, transfer = deconvolution_filter(8.0, 5000.0, Microscope(), **strong)
    blurred = filtered_volume(volume, transfer)
    restored = np.fft.rfftn(filtered_volume(blurred, response)) / np.fft.rfftn(volume)
    axes = [2 * np.fft.fftfreq(24), 2 * np.fft.fftfreq(24), 2 * np.fft.rfftfreq(24)]
    radius = np.sqrt(sum(f**2 for f in np.meshgrid(*axes, indexing="ij")))
    clear = np.interp(np.minimum(radius, 1), np.linspace(0, 1, 2048), np.abs(transfer)) > 0.4
    np.testing.assert_allclose(restored[clear].real, 1.0, atol=0.02)


def test_reach_covers_the_kernel():
    assert filter_reach_px(np.ones(2048)) == 0
    response, _ = deconvolution_filter(10.0, 40000.0, Microscope(), **SETTINGS)
    assert 5 < filter_reach_px(response) < 400
