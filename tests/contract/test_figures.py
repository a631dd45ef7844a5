"""Figures and records are declared by the step that makes them: all of them, and no others."""

from __future__ import annotations

import re
import string

import pytest

from cryoloom.contract import Bounds, Figure, Record, all_steps
from cryoloom.contract.figures import check_declared
from cryoloom.contract.step import PROGRAMS_RECORD
from makers.source_calls import made_by

STEPS = tuple(all_steps().values())
BY_NAME = {"ids": [step.name for step in STEPS]}

# What `engine.history.methods` puts into the sentence of a step besides parameters and figures.
FACTS = {"n_done", "n_all", "reconstruction", "voxel_size_angstrom"}


@pytest.mark.parametrize("step", STEPS, **BY_NAME)
def test_what_is_made_is_declared_and_what_is_declared_is_made(step):
    made = made_by(step)
    assert not made.unclear, f"write the name of the figure as a literal in {made.unclear}"
    declared = {figure.name for figure in step.figures}
    assert made.figures - declared == set(), "made, but not declared: add Figure(...) to @step(figures=...)"
    assert declared - made.figures == set(), "declared, but never made: remove it from @step(figures=...)"
    by_the_engine = {PROGRAMS_RECORD.name} if step.programs else set()
    assert made.records | by_the_engine == {record.name for record in step.records}


@pytest.mark.parametrize("step", STEPS, **BY_NAME)
def test_the_methods_sentence_names_parameters_and_figures_of_its_step(step):
    figures = {figure.name for figure in step.figures}
    stems = {re.sub(r"_(median|mean)(?=_)", "", name) for name in figures}
    known = figures | stems | {f"total_{name}" for name in figures} | set(step.params.model_fields) | FACTS
    known |= {name.replace("_angstrom", "_um") for name in stems | figures}
    text = re.sub(r"[\[\]]", "", step.methods)
    names = {name for _, name, _, _ in string.Formatter().parse(text) if name}
    assert names <= known


def test_the_same_name_may_mean_another_thing_in_another_step():
    # A figure of the same name may mean another thing in another step; each step says what it means there.
    of_ctf = {f.name: f for f in all_steps()["estimate_ctf"].figures}["n_predicted"]
    of_poses = {f.name: f for f in all_steps()["align_series"].figures}["n_predicted"]
    assert of_ctf.meaning != of_poses.meaning


@pytest.mark.parametrize(
    ("figures", "records", "said"),
    [
        ([Figure("a", "", "A", "b"), Figure("a", "", "A", "b")], [], "twice"),
        ([], [Record("a", "b"), Record("a", "c")], "twice"),
        ([Figure("length_angstrom", "deg", "A", "b")], [], "its name says 'angstrom'"),
        ([Figure("a", "", "A", "")], [], "title and a meaning"),
        ([], [Record("a", "")], "needs a meaning"),
    ],
)
def test_a_declaration_that_cannot_be_right_is_refused(figures, records, said):
    with pytest.raises(ValueError, match=said):
        check_declared("a_step", figures, records)


def test_bounds_are_in_order():
    judged = [f for step in STEPS for f in step.figures if f.bounds is not None]
    assert judged
    for figure in judged:
        assert figure.bounds.good_to < figure.bounds.look_to
        assert figure.bounds.why.endswith(".")
    assert Bounds(1.0, 2.0, "x.").good_to == 1.0
