"""Rules of particles and averages: units, signs, and values that count with another one only."""

from __future__ import annotations

import pytest

from cryoloom.scipion.particles import PARTICLE_RULES
from cryoloom.scipion.rule import NotTranslatedError
from makers.scipion_rules import converted

POSTPROCESS = next(
    name
    for name, rule in PARTICLE_RULES.items()
    if any("userBFactor" in piece.takes for piece in rule.pieces)
)


@pytest.mark.parametrize(
    ("protocol", "theirs", "value", "expected"),
    [
        ("ProtRelionRefineSubtomograms", "angularSamplingDeg", 2, 7.5),
        ("ProtRelion5ExtractSubtomos", "write2dStacks", True, "stacks"),
    ],
)
def test_choices(protocol, theirs, value, expected):
    assert converted(PARTICLE_RULES, protocol, theirs, value) == expected


def test_a_b_factor_changes_its_sign_and_counts_if_it_is_requested():
    assert converted(PARTICLE_RULES, POSTPROCESS, "userBFactor", -80.0, useOwnBFactor=True) == 80.0
    with pytest.raises(NotTranslatedError, match="useOwnBFactor does not request it"):
        converted(PARTICLE_RULES, POSTPROCESS, "userBFactor", -80.0, useOwnBFactor=False)


def test_the_detectors_pixel_counts_with_a_modulation_transfer_only():
    size = converted(PARTICLE_RULES, POSTPROCESS, "origDetectorPixSize", 1.35, mtf="k3.star")
    assert size == 1.35
    with pytest.raises(NotTranslatedError, match="no modulation transfer is given"):
        converted(PARTICLE_RULES, POSTPROCESS, "origDetectorPixSize", 1.35, mtf="")


def test_a_negative_prior_is_none():
    assert converted(PARTICLE_RULES, "ProtRelionRefineSubtomograms", "priorWidthTiltAngle", 3.0) == 3.0
    with pytest.raises(NotTranslatedError, match="no prior is requested"):
        converted(PARTICLE_RULES, "ProtRelionRefineSubtomograms", "priorWidthTiltAngle", -1)
