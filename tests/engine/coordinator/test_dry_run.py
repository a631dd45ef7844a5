"""A dry run reports what a run would do, and changes nothing."""

import hashlib

import pytest

from cryoloom.engine.coordinator.dry_run import PlannedNode
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from makers.fakes import fake_steps
from makers.graphs import two_branches

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


@pytest.fixture
def project(tmp_path):
    return Project.create(tmp_path / "project")


def workflow(**second):
    return Workflow.model_validate({"name": "graph", "steps": list(two_branches(**second))})


def dry_run(project, *args, **kwargs):
    return {node.node: node for node in project.dry_run(*args, **kwargs)}


def state(project):
    database = project.database
    recorded = database.runs(), database.items(with_records=True), database.last_plan()
    kept = [path for path in project.folder.rglob("*") if "sqlite-" not in path.name]
    files = [path for path in kept if path.is_file() and path.name[0] != "."]
    return recorded, {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_of_a_new_project_everything_is_ahead(project):
    before = state(project)
    planned = dry_run(project, workflow())
    assert planned["find_series"] == PlannedNode("find_series", 3, 0, 0, 0)
    assert planned["draw"] == PlannedNode("draw", 0, 3, 0, 0)
    assert [planned[name].n_later for name in ("smooth", "merge")] == [3, 3]
    assert state(project) == before


def test_before_a_first_run_the_usual_time_is_given_and_then_the_projects_own(project):
    planned = dry_run(project, workflow())
    assert (planned["draw"].seconds, planned["draw"].seconds_are_usual) == (21.0, True)
    assert (planned["smooth"].seconds, planned["smooth"].seconds_are_usual) == (None, False)
    project.run_workflow(workflow())
    again = dry_run(project, workflow(), parameters={"draw": {"brightness": 2.0}})
    assert again["draw"].seconds < 21.0
    assert not again["draw"].seconds_are_usual


def test_what_is_done_is_there_and_only_what_changed_is_ahead(project):
    project.run_workflow(workflow())
    before = state(project)
    assert {(n.n_there, n.n_now, n.n_later, n.n_unfit) for n in project.dry_run()} == {(3, 0, 0, 0)}
    changed = dry_run(project, workflow(), parameters={"smooth": {"width": 3}})
    assert [changed[name].n_now for name in ("draw", "smooth", "merge")] == [0, 3, 0]
    assert changed["merge"].n_later == 3
    assert state(project) == before


def test_what_failed_is_ahead_again(project):
    steps = list(two_branches())
    steps[1] = {"step": "draw", "parameters": {"fails_on": ["TS_02"]}}
    project.run_workflow(Workflow.model_validate({"name": "graph", "steps": steps}))
    planned = dry_run(project)
    assert planned["draw"] == PlannedNode("draw", 2, 1, 0, 0)
    assert planned["smooth"] == PlannedNode("smooth", 2, 0, 1, 0)
    assert planned["merge"] == PlannedNode("merge", 2, 0, 1, 0)


def test_a_project_without_a_request_has_no_dry_run(project):
    with pytest.raises(UserInputError, match="nothing was run"):
        project.dry_run()
