"""Cache keys and tasks: what changes them, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

import cryoloom.contract.discovery as discovery
from cryoloom.engine.coordinator.input_matching import WorkItem
from cryoloom.engine.coordinator.planner import Planner
from cryoloom.engine.graph.workflow import INPUT, Workflow
from cryoloom.engine.project import Project
from cryoloom.store.decisions import Change
from makers.fakes import fake_steps

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]

CHAIN = ("find_series", "draw", "smooth")


@pytest.fixture
def project(tmp_path):
    project = Project.create(tmp_path / "project")
    project.run_workflow(Workflow.model_validate({"name": "chain", "steps": [{"step": s} for s in CHAIN]}))
    return project


def planner(project, *steps):
    workflow = Workflow.model_validate(
        {"name": "chain", "steps": list(steps) or [{"step": s} for s in CHAIN]}
    )
    return Planner(project.folder, project.database, workflow, "coordinator"), workflow


def item_of(project, run, name="TS_01"):
    found = project.find_run(run)
    return next(item for item in project.database.items(found.id) if item.name == name)


def work_on(project, workflow, node="smooth", source="draw", name="TS_01"):
    return WorkItem(workflow.node(node), name, {INPUT: item_of(project, source, name)})


def key_of(project, *steps):
    made, workflow = planner(project, *steps)
    return made.key(work_on(project, workflow))


def smooth(**parameters):
    return [{"step": "find_series"}, {"step": "draw"}, {"step": "smooth", "parameters": parameters}]


def test_the_key_is_that_of_the_recorded_result(project):
    assert key_of(project) == item_of(project, "smooth").key


def test_a_parameter_and_a_version_of_the_step_change_it(project, monkeypatch):
    before = key_of(project)
    assert key_of(project, *smooth(width=1)) == before  # the default, given
    assert key_of(project, *smooth(width=5)) != before
    steps = dict(discovery.all_steps())
    steps["smooth"] = replace(steps["smooth"], version=steps["smooth"].version + 1)
    monkeypatch.setattr(discovery, "all_steps", lambda: steps)
    assert key_of(project) != before


def test_a_decision_on_the_tilts_changes_it_and_taking_it_back_restores_it(project):
    before = key_of(project)
    project.exclude("TS_01", [0], reason="ice")
    changed = key_of(project)
    assert changed != before
    project.exclude("TS_02", [0], reason="ice")  # another series
    assert key_of(project) == changed
    project.undo()
    project.undo()
    assert key_of(project) == before


def test_parameters_of_one_series_are_its_own(project):
    project.decide([Change("parameter", "TS_01", "smooth.width", 7)])
    made, workflow = planner(project)
    assert made.own_parameters(workflow.node("smooth"), "TS_01") == {"width": 7}
    assert made.own_parameters(workflow.node("smooth"), "TS_02") == {}
    task = made.task(work_on(project, workflow), "key")
    assert task.parameters["width"] == 7
    assert task.own_parameters == {"width": 7}
    # A parameter equal to that of the run is none of its own.
    made, workflow = planner(project, *smooth(width=7))
    assert made.own_parameters(workflow.node("smooth"), "TS_01") == {}


def test_a_task_has_all_that_a_worker_needs(project):
    project.exclude("TS_01", [2], reason="ice")
    made, workflow = planner(project)
    task = made.task(work_on(project, workflow), "the key")
    assert (task.node, task.step, task.item, task.key) == ("smooth", "smooth", "TS_01", "the key")
    assert task.input_item_id == item_of(project, "draw").id
    assert task.value == item_of(project, "draw").value
    assert [override.acquisition_index for override in task.overrides["TS_01"]] == [2]
    assert task.run_folder.startswith("runs/")


def test_the_figures_of_all_steps_before_reach_a_step_that_reads_them(project):
    made, workflow = planner(project, {"step": "find_series"}, {"step": "draw"}, {"step": "choose"})
    task = made.task(work_on(project, workflow, "choose"), "key")
    assert set(task.upstream_figures) >= {"mean", "n_included"}
    made, workflow = planner(project)
    assert made.task(work_on(project, workflow), "key").upstream_figures == {}


def test_a_run_is_begun_with_its_first_item_and_once(project):
    n_before = len(project.database.runs())
    made, workflow = planner(project, *smooth(width=3))
    assert len(project.database.runs()) == n_before
    first = made.run_of(workflow.node("smooth"))
    assert made.run_of(workflow.node("smooth")) is first
    begun = project.database.runs()[n_before:]
    assert [run.node for run in begun] == ["smooth"]  # those that feed it are there already
    assert begun[0].input_run_id == project.find_run("draw").id


def test_selection_passes_the_content_on(project):
    """A step that only selects items does not change the keys of what follows it."""
    project.run_workflow(
        Workflow.model_validate(
            {"name": "chosen", "steps": [{"step": s} for s in ("find_series", "draw", "choose", "smooth")]}
        )
    )
    made, workflow = planner(
        project, {"step": "find_series"}, {"step": "draw"}, {"step": "choose"}, {"step": "smooth"}
    )
    through = made.key(work_on(project, workflow, source="choose"))
    assert through == item_of(project, "smooth").key


def test_whole_series_that_are_excluded(project):
    project.curation().exclude_series("TS_02", "broken grid")
    made, _ = planner(project)
    assert made.is_left_out("TS_02")
    assert not made.is_left_out("TS_01")
