"""Shipped workflows with programs: what is exchanged, what stays native and why, and that links hold."""

from __future__ import annotations

import pytest

from cryoloom.contract import find_step
from cryoloom.engine.graph.with_programs import with_programs
from cryoloom.engine.graph.workflow import load_workflow, shipped_workflows
from cryoloom.errors import UserInputError

SEEDS = ("facility", "lamella", "beads_and_ctf", "exosomes", "average", "apoferritin", "tomogram")


def everything(program):
    return ""


def nothing(program):
    return f"{program.name} is not found"


def imod_alone(program):
    return "" if program.suite == "IMOD" else f"{program.name} is not found"


@pytest.mark.parametrize("name", SEEDS)
def test_every_seed_has_programs_and_its_links_hold(name):
    native = load_workflow(name)
    made = with_programs(native, everything)
    by_programs = [node for node in made.steps if find_step(node.step).programs]
    assert len(by_programs) >= 4
    assert {node.name for node in by_programs}.isdisjoint({node.name for node in native.steps})
    assert [node.step for node in made.steps] == [node.step for node in made.steps]


@pytest.mark.parametrize("name", SEEDS)
def test_a_program_that_is_missing_leaves_the_native_step(name):
    native = load_workflow(name)
    made = with_programs(native, nothing)
    assert [(n.name, n.step, n.feeds) for n in made.steps] == [
        (n.name, n.step, n.feeds) for n in native.steps
    ]
    assert any("align_frames stays native: " in note and "is not found" in note for note in made.notes)


def test_the_exosomes_as_the_tutorial_has_them():
    made = with_programs(load_workflow("exosomes"), everything)
    assert [node.step for node in made.steps if find_step(node.step).programs] == [
        "warp_align_frames", "imod_erase_xrays", "imod_weight_dose", "imod_align_by_beads",
        "imod_reconstruct", "aretomo_align_series", "aretomo_reconstruct",
    ]  # fmt: skip
    # Warp has estimated the CTF already, so what followed it follows what it followed.
    assert "estimate_ctf" not in {node.step for node in made.steps}
    assert made.node("select_items").input == "select_tilts"
    assert made.node("tomogram_by_beads_imod").input == "align_by_beads_imod"
    assert made.node("align_without_beads_aretomo").input == "imod_weight_dose"


def test_programs_of_one_suite_alone():
    made = with_programs(load_workflow("exosomes"), imod_alone)
    assert made.node("align_frames").step == "align_frames"
    assert made.node("estimate_ctf").step == "estimate_ctf"  # nothing did it on the way
    assert made.node("select_tilts").input == "imod_erase_xrays"
    assert made.node("tomogram_without_beads").step == "reconstruct"
    assert "align_by_beads is done by imod_align_by_beads" in made.notes


def test_facility_is_the_chain_of_its_programs():
    made, named = with_programs(load_workflow("facility"), everything), load_workflow("facility_programs")
    assert [node.step for node in made.steps] == [node.step for node in named.steps]


def test_a_workflow_that_names_none():
    without = next(n for n in shipped_workflows() if not any(s.programs for s in load_workflow(n).steps))
    with pytest.raises(UserInputError, match="names no programs; exchange its steps in a file of your own"):
        with_programs(load_workflow(without), everything)
