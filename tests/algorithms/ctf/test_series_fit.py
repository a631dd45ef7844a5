from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.ctf.defocus_fit import whiten
from cryoloom.algorithms.ctf.series_fit import fit_series
from cryoloom.algorithms.ctf.series_model import TiltRings, defocus_slope
from cryoloom.algorithms.images.power_spectrum import SpectrumBand, tile_spectra
from cryoloom.geometry.projection import beam_coordinate, project, projection_matrices
from cryoloom.model import Microscope
from makers.tilted_images import tilted_film

BAND = SpectrumBand(1 / 35, 1 / 6.0)
ANGLES = (-50.0, -30.0, -10.0, 0.0, 20.0, 40.0)


@pytest.mark.parametrize("hand", [1, -1])
def test_slope_is_the_beam_coordinate_of_the_specimens_plane(hand, rng):
    """Handedness +1: a point's defocus is the image's minus w."""
    points = np.column_stack([rng.uniform(-1000, 1000, (5, 2)), np.zeros(5)])
    matrices = projection_matrices(37.0, [48.0], -3.0)
    images = project(points, matrices, [[0.0, 0.0]])[0]
    slope = defocus_slope(37.0, 48.0, -3.0, hand)
    assert_allclose(images @ slope, -hand * beam_coordinate(points, matrices)[0], atol=1e-9)


def rings_of(images, shifts=None) -> list[TiltRings]:
    found = []
    for i, (angle, image) in enumerate(zip(ANGLES, images, strict=True)):
        data = whiten(tile_spectra(torch.as_tensor(image), 2.7, BAND, 700.0), Microscope())
        shift = (0.0, 0.0) if shifts is None else shifts[i]
        found.append(TiltRings(data, i, angle, 85.0, 0.0, shift))
    return found


@pytest.fixture(scope="module")
def defoci():
    return 32000.0 + np.array([0.0, 400.0, -300.0, 2500.0, 100.0, -200.0])  # one far from its neighbours


@pytest.fixture(scope="module")
def images(defoci):
    rng = np.random.default_rng(7)
    return [
        tilted_film(
            rng,
            defocus_angstrom=defocus,
            tilt_deg=angle,
            axis_deg=85.0,
            handedness=-1,
            astigmatism_angstrom=(-200.0, 150.0),
        )
        for defocus, angle in zip(defoci, ANGLES, strict=True)
    ]


def test_finds_every_defocus_the_astigmatism_and_the_hand(images, defoci):
    found = fit_series(rings_of(images), (15000.0, 50000.0))
    assert found is not None
    assert found.model.handedness == -1
    assert found.hand.series_gain > 50
    # About four standard deviations, which are 15 to 30 A here.
    assert_allclose([fit.defocus_angstrom for fit in found.fits], defoci, atol=120.0)
    assert_allclose(found.model.astigmatism_angstrom, (-200.0, 150.0), atol=60.0)
    assert not any(found.predicted)


def test_defocus_is_given_at_the_specimens_origin(images, defoci):
    """The origin moved in the image by a known shift: its defocus changes by slope . shift."""
    shifts = [(60.0, -110.0)] * len(ANGLES)
    found = fit_series(rings_of(images, shifts), (15000.0, 50000.0), handedness=-1)
    assert found is not None
    slopes = [defocus_slope(85.0, angle, 0.0, -1) for angle in ANGLES]
    expected = defoci + [slope @ shift for slope, shift in zip(slopes, shifts, strict=True)]
    assert_allclose([fit.defocus_angstrom for fit in found.fits], expected, atol=120.0)


def test_an_exposure_without_rings_gets_the_prediction(images, defoci, rng):
    silent = [*images[:4], rng.poisson(20.0, images[4].shape).astype(np.float32), images[5]]
    found = fit_series(rings_of(silent), (15000.0, 50000.0))
    assert found is not None
    assert found.predicted == [False] * 4 + [True, False]
    assert abs(found.fits[4].defocus_angstrom - 32000.0) < 2500
    assert found.fits[4].sd_angstrom > 200


def test_an_exposure_with_weak_rings_is_not_called_silent(images, defoci):
    rng = np.random.default_rng(8)
    # In power, rings a quarter as strong as those of the others.
    weak = tilted_film(
        rng, defocus_angstrom=defoci[4], tilt_deg=ANGLES[4], axis_deg=85.0, handedness=-1, phase_rms_rad=0.05
    )
    found = fit_series(rings_of([*images[:4], weak, images[5]]), (15000.0, 50000.0))
    assert found is not None
    assert not any(found.predicted)
    assert abs(found.fits[4].defocus_angstrom - defoci[4]) < 250.0


def test_a_series_without_rings_gives_nothing(rng):
    noise = [rng.poisson(20.0, (512, 512)).astype(np.float32) for _ in ANGLES]
    assert fit_series(rings_of(noise), (15000.0, 50000.0)) is None
