"""The rules of translation, as a table: every step, parameter and role that they name exists."""

from __future__ import annotations

from cryoloom.contract import all_steps
from cryoloom.contract.discovery import planned_step
from cryoloom.scipion.particles import PARTICLE_RULES
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
