"""The rules of translation, as a table: every step, parameter and role that they name exists."""

from __future__ import annotations

from cryoloom.contract import all_steps
from cryoloom.scipion.particles import PARTICLE_RULES
from cryoloom.scipion.picks import PICK_RULES
from cryoloom.scipion.rules import NO_RULE, RULES
from cryoloom.scipion.series import SERIES_RULES
from cryoloom.scipion.stated import STATED_RULES
from cryoloom.scipion.streaming import STREAMING_RULES
from cryoloom.scipion.tomograms import TOMOGRAM_RULES

STEPS = all_steps()


def pieces():
    return [(protocol, piece) for protocol, rule in RULES.items() for piece in rule.pieces]


def test_a_protocol_has_one_rule():
    tables = (SERIES_RULES, STREAMING_RULES, TOMOGRAM_RULES, PICK_RULES, PARTICLE_RULES, STATED_RULES)
    assert len(RULES) == sum(len(table) for table in tables)
    assert not RULES.keys() & NO_RULE.keys()


def test_every_step_is_there():
    for protocol, piece in pieces():
        assert piece.step in STEPS, protocol


def test_every_parameter_that_a_rule_takes_or_sets_is_one_of_the_step():
    unknown = {
        (protocol, piece.step, name)
        for protocol, piece in pieces()
        if piece.step in STEPS
        for name in {ours for ours, _ in piece.takes.values()} | set(piece.sets) | set(piece.derives)
        if name not in STEPS[piece.step].params.model_fields
    }
    assert not unknown


def test_values_that_a_rule_sets_are_allowed():
    for protocol, piece in pieces():
        if piece.step in STEPS and piece.sets:
            fields = STEPS[piece.step].params.model_fields
            values = {name: value for name, value in piece.sets.items() if name in fields}
            assert STEPS[piece.step].params(**values), protocol


def test_a_rule_makes_a_step_or_says_what_takes_its_place():
    """Protocols without a step and without a word are those whose work is part of the steps around them."""
    part_of_others = {
        protocol for protocol, rule in RULES.items() if not rule.pieces and not rule.stated and not rule.why
    }
    assert part_of_others == {"ProtRelionPrepareData", "ProtCorrectTiltOffset"}
    for protocol, rule in RULES.items():
        assert not (rule.pieces and rule.stated), protocol
        assert not rule.stated or rule.inputs, protocol
        assert all(rule.why.values()), protocol


def test_a_default_is_of_a_parameter_that_the_rule_knows():
    for protocol, rule in RULES.items():
        taken = {theirs for piece in rule.pieces for theirs in piece.takes}
        known = taken | set(rule.quiet) | {rule.rescales} | {piece.binning for piece in rule.pieces}
        assert set(rule.defaults) <= known | {"doEstimateCtf", "maxShiftY"}, protocol


def test_roles_are_further_inputs_or_the_reference_of_a_refinement():
    for protocol, rule in RULES.items():
        taken = {
            role for piece in rule.pieces if piece.step in STEPS for role in STEPS[piece.step].also_needs
        }
        for role in rule.roles.values():
            assert role in taken | {"reference_from", "mask_from"}, protocol
