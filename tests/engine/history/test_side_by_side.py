"""Runs of outside programs next to the native runs that they replace."""

from __future__ import annotations

import pytest

from cryoloom.engine.history.side_by_side import compared_programs, program_pairs
from cryoloom.engine.project import Project
from makers.fakes import fake_steps
from makers.graphs import run

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]

FIND = {"step": "find_series"}


@pytest.fixture
def project(tmp_path):
    return Project.create(tmp_path / "project")


def names_of_pairs(project):
    return [(native.node, program.node) for native, program in program_pairs(project.database)]


def test_a_native_project_has_no_pair(project):
    run(project, FIND, {"step": "draw"})
    assert program_pairs(project.database) == ()


def test_a_program_without_its_native_step_has_no_pair(project):
    run(project, FIND, {"step": "outside_draw"})
    assert program_pairs(project.database) == ()


def test_both_ways_in_one_project_are_a_pair_whichever_came_first(project):
    run(project, FIND, {"step": "outside_draw"})
    run(project, FIND, {"step": "draw"})
    assert names_of_pairs(project) == [("draw", "outside_draw")]


def test_a_program_belongs_to_the_native_run_that_its_name_comes_from(project):
    """As a workflow with two native runs of one step has it: with beads and without."""
    run(
        project,
        FIND,
        {"step": "draw", "name": "by_beads"},
        {"step": "draw", "name": "without_beads", "input": "find_series"},
    )
    run(
        project,
        FIND,
        {"step": "outside_draw", "name": "by_beads_imod"},
        {"step": "outside_draw", "name": "without_beads_aretomo", "input": "find_series"},
        {"step": "outside_draw", "name": "another", "input": "find_series"},
    )
    assert names_of_pairs(project) == [
        ("by_beads", "by_beads_imod"),
        ("without_beads", "without_beads_aretomo"),
        ("without_beads", "another"),
    ]


def test_the_last_run_of_each_counts(project):
    run(
        project,
        FIND,
        {"step": "draw", "parameters": {"brightness": 1.0}},
        {"step": "outside_draw", "input": "find_series"},
    )
    run(project, FIND, {"step": "draw", "parameters": {"brightness": 9.0}})
    ((native, _),) = program_pairs(project.database)
    assert native.parameters["brightness"] == 9.0


def test_a_program_run_in_which_nothing_was_finished_is_no_pair(project):
    everything = ["TS_01", "TS_02", "TS_03"]
    run(
        project,
        FIND,
        {"step": "draw"},
        {"step": "outside_draw", "input": "find_series", "parameters": {"fails_on": everything}},
    )
    assert program_pairs(project.database) == ()


def test_figures_states_and_times_of_a_pair(project):
    run(
        project,
        FIND,
        {"step": "draw", "parameters": {"brightness": 1.0}},
        {
            "step": "outside_draw",
            "input": "find_series",
            "parameters": {"brightness": 4.0, "fails_on": ["TS_02"]},
        },
    )
    (compared,) = compared_programs(project.database)
    old, new = compared.medians["mean"]
    assert new - old == pytest.approx(3.0, abs=0.5)  # of 5 x 8 x 10 values with a deviation of 1
    assert compared.medians["n_lines"] == (None, 7.0)
    assert compared.states["TS_02"] == ("done", "failed: the program ended with the exit code 1")
    assert all(seconds is not None and seconds >= 0 for seconds in compared.seconds)
