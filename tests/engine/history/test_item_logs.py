"""Every item has a log that the user can read."""

from __future__ import annotations

import pytest

from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from makers.fakes import fake_steps

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


@pytest.fixture
def project(tmp_path):
    return Project.create(tmp_path / "project")


def run(project, *steps):
    first = {"step": "find_series", "parameters": {"n_series": 2}}
    return project.run_workflow(Workflow.model_validate({"name": "logs", "steps": [first, *steps]}))


def lines(project, node, item):
    """Lines without their times."""
    text = project.item_log(node, item).read_text()
    return [line.split("UTC  ")[-1] for line in text.splitlines()]


def test_figures_warnings_and_the_end_are_logged(project):
    run(project, {"step": "draw"}, {"step": "outside_program"})
    logged = lines(project, "draw", "TS_01")
    assert logged[0].startswith("draw of TS_01: draw 1 on ")
    assert logged[1] == "n_included = 5"
    assert logged[2].startswith("mean = ")
    assert logged[-1].startswith("done in ")
    logged = lines(project, "outside_program", "TS_02")
    assert logged[1].startswith("$ ")
    assert logged[2:4] == ["lines from outside", "warning: it is not known what it did"]


def test_a_failure_is_logged_and_a_second_try_follows_it(project):
    run(project, {"step": "draw", "parameters": {"fails_on": ["TS_01"]}})
    project.resume()
    logged = lines(project, "draw", "TS_01")
    assert logged.count("failed: too few tilts, n_tilts=4, needed=10") == 2
    run(project, {"step": "draw", "parameters": {"flaw": "type"}})
    assert any("Traceback" in line for line in lines(project, "draw", "TS_01"))


def test_what_programs_print_in_parts_is_in_the_log_of_the_item(project):
    run(project, {"step": "outside_program", "parameters": {"in_parts": True}})
    assert lines(project, "outside_program", "TS_01").count("lines from outside") == 2
    assert not list(project.folder.rglob("*.part"))


def test_an_outside_program_that_fails_fails_its_item_with_its_last_words(project):
    code = "print('no such tilt'); raise SystemExit(2)"
    for in_parts in (False, True):
        summary = run(
            project, {"step": "outside_program", "parameters": {"code": code, "in_parts": in_parts}}
        )
        assert {item.error["kind"] for item in summary.failed} == {"DataUnfitError"}
        assert "ended with code 2: no such tilt" in summary.failed[0].error["message"]


def test_the_log_of_what_was_taken_over_is_that_of_who_made_it(project):
    run(project, {"step": "draw"}, {"step": "average_all"}, {"step": "smooth", "input": "average_all.series"})
    made = project.item_log("average_all", "all")
    assert project.item_log("average_all", "TS_01") == made  # a part of its work
    draw = project.item_log("draw", "TS_01")
    run(project, {"step": "draw", "name": "draw_again"})
    assert project.item_log("draw_again", "TS_01") == draw
    with pytest.raises(UserInputError, match="no log of TS_01 in run 1"):
        project.item_log("find_series", "TS_01")
    with pytest.raises(UserInputError, match="has no item 'TS_09'"):
        project.item_log("draw", "TS_09")
