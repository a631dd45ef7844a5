"""Handedness from the exposures' own gradients: right for either sign, none where it cannot be measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.ctf.defocus_fit import DefocusFit, whiten
from cryoloom.algorithms.ctf.handedness import MULTIPLES, HandEvidence, gradient_gains, hand_evidence
from cryoloom.algorithms.ctf.series_model import SeriesModel, TiltRings
from cryoloom.algorithms.images.power_spectrum import SpectrumBand, tile_spectra
from cryoloom.model import Microscope
from makers.tilted_images import tilted_film

BAND = SpectrumBand(1 / 35, 1 / 6.0)
FIT = DefocusFit(30000.0, 0.0, 0.0, 20.0, 20.0, 100.0)


def model(hand: int) -> SeriesModel:
    return SeriesModel(hand, np.full(BAND.n_rings, 0.2))


def rings(rng, tilt_deg: float, hand: int, axis_deg: float = 85.0) -> TiltRings:
    image = tilted_film(rng, defocus_angstrom=30000.0, tilt_deg=tilt_deg, axis_deg=85.0, handedness=hand)
    return TiltRings(
        whiten(tile_spectra(torch.as_tensor(image), 2.7, BAND, 700.0), Microscope()), 0, tilt_deg, axis_deg
    )


@pytest.mark.parametrize("hand", [1, -1])
@pytest.mark.parametrize("tilt_deg", [35.0, -50.0])
def test_the_gradient_is_the_predicted_one(rng, hand, tilt_deg):
    tilt = rings(rng, tilt_deg, hand)
    right, wrong = (gradient_gains(tilt, model(sign * hand), FIT) for sign in (1, -1))
    # One small image tells the multiple to a few tenths; with the other sign the curve is seen mirrored.
    assert abs(MULTIPLES[right.argmax()] - 1) <= 0.4
    np.testing.assert_allclose(wrong, right[::-1], atol=1e-3 * right.max())


def test_exposures_vote_and_measure_together(rng):
    tilts = [rings(rng, angle, -1) for angle in (-50.0, -35.0, -20.0, 3.0, 20.0, 35.0, 50.0)]
    found = hand_evidence(tilts, model(-1), [FIT] * 7, 200.0)
    assert (found.votes_for, found.votes_against) == (6, 0)
    assert abs(found.gradient - 1) < max(3 * found.gradient_sd, 0.1)
    assert found.is_clear
    other = hand_evidence(tilts, model(1), [FIT] * 7, -200.0)
    assert (other.votes_for, other.votes_against) == (0, 6)
    assert not other.is_clear


def test_untilted_and_silent_exposures_do_not_vote(rng):
    flat = rings(rng, 3.0, 1)
    noise = rng.poisson(20.0, (512, 512)).astype(np.float32)
    silent = TiltRings(
        whiten(tile_spectra(torch.as_tensor(noise), 2.7, BAND, 700.0), Microscope()), 1, 40.0, 85.0
    )
    unseen = DefocusFit(30000.0, 0.0, 0.0, 500.0, 500.0, 1.0)
    found = hand_evidence([flat, silent], model(1), [FIT, unseen], 0.3)
    assert (found.votes_for, found.votes_against) == (0, 0)
    assert not found.is_clear


@pytest.mark.parametrize(
    ("evidence", "objection"),
    [
        (HandEvidence(12.0, 1.0, 0.05, 20, 1), "12.0 nats"),
        (HandEvidence(300.0, 1.0, 0.05, 12, 6), "12 tilts vote for it and 6 against"),
        (HandEvidence(300.0, 1.0, 0.05, 3, 0), "3 tilts vote for it and 0 against"),
        (HandEvidence(300.0, 0.2, 0.05, 20, 1), "0.20 of what the geometry predicts"),
    ],
)
def test_each_estimator_can_object(evidence, objection):
    assert len(evidence.objections) == 1
    assert objection in evidence.objections[0]
    assert not evidence.is_clear
