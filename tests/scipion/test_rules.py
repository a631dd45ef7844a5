"""The rules of translation, as a table: every step, parameter and role that they name exists."""

from __future__ import annotations

import pytest

from cryoloom.contract import all_steps
from cryoloom.contract.discovery import planned_step
from cryoloom.scipion.particles import PARTICLE_RULES
from cryoloom.scipion.rule import NotTranslatedError, Surroundings
from cryoloom.scipion.rules import NO_RULE, RULES
from cryoloom.scipion.series import SERIES_RULES
from cryoloom.scipion.tomograms import TOMOGRAM_RULES

STEPS = all_steps()


def pieces():
    return [(protocol, piece) for protocol, rule in RULES.items() for piece in rule.pieces]


def test_a_protocol_has_one_rule():
    assert len(RULES) == len(SERIES_RULES) + len(TOMOGRAM_RULES) + len(PARTICLE_RULES)
    assert not RULES.keys() & NO_RULE.keys()


def test_every_step_is_there_or_planned():
    for protocol, piece in pieces():
        assert piece.step in STEPS or planned_step(piece.step) is not None, protocol


def test_every_parameter_that_a_rule_takes_or_sets_is_one_of_the_step():
    unknown = {
        (protocol, piece.step, name)
        for protocol, piece in pieces()
        if piece.step in STEPS
        for name in {ours for ours, _ in piece.takes.values()} | set(piece.sets)
        if name not in STEPS[piece.step].params.model_fields
    }
    assert not unknown


def test_values_that_a_rule_sets_are_allowed():
    for protocol, piece in pieces():
        if piece.step in STEPS and piece.sets:
            fields = STEPS[piece.step].params.model_fields
            values = {name: value for name, value in piece.sets.items() if name in fields}
            assert STEPS[piece.step].params(**values), protocol


def test_roles_are_further_inputs_or_the_reference_of_a_refinement():
    for protocol, rule in RULES.items():
        taken = {
            role for piece in rule.pieces if piece.step in STEPS for role in STEPS[piece.step].also_needs
        }
        for role in rule.roles.values():
            assert role in taken | {"reference_from", "mask_from"}, protocol


@pytest.mark.parametrize(
    ("rules", "protocol", "theirs", "value", "pixel", "expected"),
    [
        # Lengths: nanometre, pixels of the input, percent.
        (SERIES_RULES, "ProtImodFiducialModel", "fiducialDiameter", 10.0, None, 100.0),
        (SERIES_RULES, "ProtImodBRT", "patchOverlapPercent", 80, None, 0.8),
        (TOMOGRAM_RULES, "ProtImodTomoReconstruction", "tomoThickness", 300, 5.4, 1620.0),
        (TOMOGRAM_RULES, "ProtNovaCtf", "defocusStep", 15, None, 150.0),
        # Warp: defocus in micrometre, damping negative.
        (SERIES_RULES, "ProtWarpTSMotionCorr", "defocus_max", 8.0, None, 80000.0),
        (SERIES_RULES, "ProtWarpTSMotionCorr", "bfactor", -500.0, None, 500.0),
        # Choices by number.
        (SERIES_RULES, "ProtImodFiducialAlignment", "rotationSolutionType", 3, None, "per_view"),
        (TOMOGRAM_RULES, "ProtAreTomoAlignRecon", "refineTiltAxis", 0, None, "fixed"),
        (PARTICLE_RULES, "ProtRelionRefineSubtomograms", "angularSamplingDeg", 2, None, 7.5),
        (PARTICLE_RULES, "ProtRelion5ExtractSubtomos", "write2dStacks", True, None, "stacks"),
        (SERIES_RULES, "ProtTsMotionCorr", "alignFrameN", 0, None, None),  # 0: the last frame
    ],
)
def test_units_and_choices(rules, protocol, theirs, value, pixel, expected):
    _, convert = next(piece.takes[theirs] for piece in rules[protocol].pieces if theirs in piece.takes)
    found = convert(value, Surroundings({}, pixel))
    assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)


def test_pixels_without_a_pixel_size_and_choices_without_a_counterpart():
    (piece,) = TOMOGRAM_RULES["ProtImodTomoReconstruction"].pieces
    with pytest.raises(NotTranslatedError, match="300 pixels: the pixel size is known from the mdoc only"):
        piece.takes["tomoThickness"][1](300, Surroundings({}, None))
    with pytest.raises(NotTranslatedError, match="choice 7 has no counterpart"):
        SERIES_RULES["ProtImodFiducialAlignment"].pieces[0].takes["rotationSolutionType"][1](
            7, Surroundings({}, None)
        )
