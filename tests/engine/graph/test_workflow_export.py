"""What a project did, run again on other data, is the same graph."""

from __future__ import annotations

import pytest
import yaml

from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from makers.fakes import fake_steps
from makers.graphs import run, two_branches

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


@pytest.fixture
def project(tmp_path):
    """A project with branches, a second input, a step run again with another parameter, and a failure."""
    project = Project.create(tmp_path / "project")
    run(project, *two_branches(parameters={"width": 3}))
    project.run("smooth", like="smooth", width=7)
    project.run("choose", input="draw", at_least=-50.0)
    project.run("merge", input="draw", second_from="smooth")
    project.run("draw", input="find_series", fails_on=["TS_01", "TS_02", "TS_03"])
    project.comment("choose", "all are bright enough")
    return project


def graph(workflow):
    return {
        node.name: (node.step, dict(node.feeds), dict(node.parameters), node.comment)
        for node in workflow.steps
    }


def test_all_runs_are_there_with_their_links(project):
    assert graph(project.workflow()) == {
        "find_series": ("find_series", {}, {}, ""),
        "draw": ("draw", {"input": "find_series"}, {}, ""),
        "smooth": ("smooth", {"input": "draw"}, {"width": 3}, ""),
        "merge": ("merge", {"input": "draw", "second_from": "smooth"}, {}, ""),
        "smooth_2": ("smooth", {"input": "draw"}, {"width": 7}, ""),
        "choose": ("choose", {"input": "draw"}, {"at_least": -50.0}, "all are bright enough"),
        "merge_2": ("merge", {"input": "draw", "second_from": "smooth_2"}, {}, ""),
    }


def test_run_on_other_data_it_is_the_same_graph(project, tmp_path):
    text = project.workflow().to_yaml()
    exported = Workflow.model_validate(yaml.safe_load(text))
    assert exported == project.workflow()
    other = Project.create(tmp_path / "other")
    summary = other.run_workflow(exported, parameters={"find_series": {"n_series": 2}})
    assert not summary.failed
    assert summary.n_done == 2 * 7
    mine, its = graph(project.workflow()), graph(other.workflow())
    its["find_series"] = mine["find_series"]  # other data
    its["choose"] = mine["choose"]  # a comment is of a run, not of what it does
    assert its == mine


def test_where_nothing_came_of_anything_there_is_nothing_to_export(tmp_path):
    with pytest.raises(UserInputError, match="nothing to export"):
        Project.create(tmp_path / "empty").workflow()
