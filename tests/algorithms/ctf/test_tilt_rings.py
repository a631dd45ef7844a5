"""One exposure's rings: the likelihood agrees with its gradients, and no rings look like none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.ctf.defocus_fit import DefocusFit, ring_phase, tile_offsets, whiten
from cryoloom.algorithms.ctf.series_model import CERTAIN_GAIN, SeriesModel, at_origin
from cryoloom.algorithms.ctf.shared_properties import strength_basis
from cryoloom.algorithms.ctf.tilt_rings import RingLikelihood, own_gain
from cryoloom.algorithms.images.power_spectrum import tile_spectra
from cryoloom.model import Microscope
from makers.exact_rings import ASTIGMATISM_ANGSTROM, BAND, THICKNESS_ANGSTROM, exact_rings, modulation

MODEL = SeriesModel(1, modulation(), THICKNESS_ANGSTROM, astigmatism_angstrom=ASTIGMATISM_ANGSTROM)
DEFOCUS, SHIFT_DEG, TILT_DEG = 30000.0, 60.0, 20.0
FIT = DefocusFit(DEFOCUS, *ASTIGMATISM_ANGSTROM, 50.0, 50.0, 100.0)
AT = np.array([DEFOCUS - 60.0, ASTIGMATISM_ANGSTROM[0] + 30.0, ASTIGMATISM_ANGSTROM[1], SHIFT_DEG + 2.0])


@pytest.fixture(scope="module")
def rings():
    return exact_rings(np.array([DEFOCUS]), np.array([SHIFT_DEG]), (TILT_DEG,))[0]


def test_gradients_are_those_of_the_likelihood(rings):
    basis = strength_basis(BAND)
    exposure = RingLikelihood(rings[0], MODEL, DEFOCUS)
    coefficients = np.linalg.lstsq(basis, 0.8 * modulation())[0]
    steps = np.array([4.0, 4.0, 4.0, 0.2, *[0.005] * basis.shape[1]])
    expected = []
    for i, step in enumerate(steps):
        move = np.zeros(len(steps))
        move[i] = step
        above, below = (
            exposure.evidence(AT + sign * move[:4], coefficients + sign * move[4:], basis).gain
            for sign in (1, -1)
        )
        expected.append((above - below) / (2 * step))
    found = exposure.evidence(AT, coefficients, basis).gradient
    for part in (slice(0, 3), slice(3, 4), slice(4, None)):
        assert_allclose(found[part], expected[part], rtol=0.02, atol=0.01 * np.abs(found[part]).max())


def test_the_gathered_tiles_say_what_the_tiles_say(rings):
    """The likelihood of the tiles one by one, for the background that the gathered ones prefer."""
    tilt = rings[0]
    data = replace(at_origin(tilt), phase_shift_deg=SHIFT_DEG)
    exposure = RingLikelihood(tilt, MODEL, DEFOCUS)
    template = MODEL.template(tilt, DEFOCUS)
    gains = []
    for defocus in (DEFOCUS, DEFOCUS + 500.0):
        at = np.array([defocus, *ASTIGMATISM_ANGSTROM, SHIFT_DEG])
        level = exposure._best_level(exposure._sums(at), MODEL.spectrum)[1]
        offsets = tile_offsets(data, MODEL.slope(tilt), *ASTIGMATISM_ANGSTROM)
        rings_there = 1 - template.modulation.double() * torch.cos(
            ring_phase(data, defocus + offsets).double()
        )
        misfit = (1 + data.residual - torch.as_tensor(level) * rings_there) ** 2
        one_by_one = -0.5 * float((data.weight * template.precision * misfit).double().sum())
        gains.append((one_by_one, exposure._best_level(exposure._sums(at), MODEL.spectrum)[0]))
    (alone, gathered), (alone_off, gathered_off) = gains
    assert gathered - gathered_off > 20
    assert_allclose(gathered - gathered_off, alone - alone_off, rtol=1e-3)


def test_strengths_of_noise_are_in_standard_deviations(rings, rng):
    n, gains = 32, []
    for _ in range(n):
        image = torch.as_tensor(rng.standard_normal((640, 640)), dtype=torch.float32)
        spectra = tile_spectra(image, 2.7, BAND, 700.0)
        data = whiten(spectra, Microscope(), np.zeros(spectra.power.shape))
        gains.append(own_gain(replace(rings[0], data=data), MODEL, FIT)[0])
    # Half of them are reversed and say 0; of the others the mean square is 1, to 0.4 by chance.
    assert_allclose(2 * np.sum(gains) / (n / 2), 1.0, atol=0.9)
    assert max(gains) < CERTAIN_GAIN


def test_rings_half_as_strong_as_those_of_their_series_are_seen(rings, rng):
    tilt, spectra = rings
    power = 1 + 0.5 * (spectra.power * (1 - modulation()) - 1)
    n = np.maximum(spectra.counts * spectra.independence, 0.1)
    noisy = replace(spectra, power=(power * rng.gamma(n, 1 / n, size=power.shape)).astype(np.float32))
    data = replace(whiten(noisy, Microscope(), np.zeros(power.shape)), phase_shift_deg=SHIFT_DEG)
    weak = replace(tilt, data=data)
    assert own_gain(weak, MODEL, FIT)[0] > 4 * CERTAIN_GAIN


def test_bumps_that_all_tiles_share_are_noise(rings, rng):
    spectra, basis = rings[1], strength_basis(BAND)
    k = BAND.frequency
    # As of a structure that repeats after 60 A, below 1 / 15 A.
    bumps = 1 + 0.3 * np.sin(2 * np.pi * 60.0 * k) * (k < 1 / 15)
    n = np.maximum(spectra.counts * spectra.independence, 0.1)
    noise = []
    for factor in (np.ones_like(k), bumps):
        power = factor * rng.gamma(n, 1 / n, size=spectra.power.shape)
        data = whiten(replace(spectra, power=power.astype(np.float32)), Microscope(), np.zeros(power.shape))
        exposure = RingLikelihood(replace(rings[0], data=data), MODEL, DEFOCUS).in_all_directions(0.0, 0.0)
        at = np.array([DEFOCUS, 0.0, 0.0, SHIFT_DEG])
        noise.append(exposure.noise(at, np.zeros_like(k), basis))
    assert noise[0].mean() < 2.5
    assert noise[1][k < 1 / 22].mean() > 3 * noise[0].mean()
    assert_allclose(noise[1][k > 1 / 12].mean(), noise[0][k > 1 / 12].mean(), rtol=0.5)


def test_noise_takes_from_the_information(rings):
    basis = strength_basis(BAND)
    exposure = RingLikelihood(rings[0], MODEL, DEFOCUS)
    coefficients = np.linalg.lstsq(basis, modulation())[0]
    full, less = (
        one.evidence(AT, coefficients, basis).information
        for one in (exposure, exposure.with_noise(np.full(BAND.n_rings, 4.0)))
    )
    assert_allclose(less, full / 4, rtol=1e-6, atol=1e-9 * np.abs(full).max())
