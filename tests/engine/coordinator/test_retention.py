"""What can be made again is removed, stays recorded, and comes back when something needs it."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.engine.coordinator.retention import clean, parse_keep
from cryoloom.engine.executors.executor import InProcessExecutor
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.errors import TransientError, UserInputError
from cryoloom.store.database import Database
from makers.fakes import fake_steps
from makers.graphs import Diary

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


def workflow(width=1, n_series=2):
    steps = [
        {"step": "find_series", "parameters": {"n_series": n_series}},
        {"step": "draw"},
        {"step": "smooth"},
        {"name": "second", "step": "smooth", "parameters": {"width": width}},
    ]
    return Workflow.model_validate({"name": "fake", "steps": steps})


@pytest.fixture
def project(tmp_path):
    return Project.create(tmp_path / "project")


def worked_on(project, asked):
    diary = Diary()
    summary = project.run_workflow(asked, executor=InProcessExecutor(), listener=diary)
    assert not summary.failed
    return summary, diary.worked_on


def stacks(project):
    return sorted(path.relative_to(project.folder).as_posix() for path in project.folder.rglob("*.mrc"))


def test_results_stay_and_what_is_between_goes(project):
    worked_on(project, workflow())
    before = {path: (project.folder / path).read_bytes() for path in stacks(project)}
    listed = project.removable("results")
    assert [(one.run.node, one.item.name) for one in listed] == [
        (node, name) for node in ("draw", "smooth") for name in ("TS_01", "TS_02")
    ]
    assert {path: (project.folder / path).read_bytes() for path in stacks(project)} == before
    assert sum(one.bytes for one in listed) == sum(
        len(data) for path, data in before.items() if "second" not in path
    )
    assert project.clean("results") == listed
    assert stacks(project) == [path for path in before if "second" in path]
    assert project.removable("results") == ()
    # What is recorded stays, and nothing is to be done.
    assert all(one.state == "current" for one in project.state().series.values())
    assert {r.item for r in project.results() if r.run == listed[0].run.id} == {"TS_01", "TS_02"}
    assert all(not r.files for r in project.results() if r.run == listed[0].run.id)
    assert worked_on(project, workflow())[1] == []
    assert stacks(project) == [path for path in before if "second" in path]


def test_what_a_step_needs_is_made_again_to_the_bit(project):
    worked_on(project, workflow())
    before = {path: (project.folder / path).read_bytes() for path in stacks(project)}
    project.clean("results")
    summary, made = worked_on(project, workflow(width=2))
    assert sorted(made) == [
        (node, name) for node in ("draw", "second", "smooth") for name in ("TS_01", "TS_02")
    ]
    assert summary.n_done == 8
    again = {path: (project.folder / path).read_bytes() for path in stacks(project)}
    assert {path: again[path] for path in before} == before
    assert len(again) == len(before) + 2
    assert all(one.state == "current" for one in project.state().series.values())


def test_a_crash_between_marking_and_removing_loses_nothing(project, monkeypatch):
    worked_on(project, workflow())
    chosen = project.removable("results")
    project.database.mark_cleaned([one.item.id for one in chosen], (".mrc",))
    reopened = Project.open(project.folder)
    assert worked_on(reopened, workflow())[1] == []
    clean(reopened.database, reopened.folder, ())  # the files go the next time
    assert len(stacks(project)) == 2


def test_a_series_that_is_not_through_is_kept(project):
    steps = [*workflow().model_dump()["steps"][:3]]
    steps.append({"name": "second", "step": "draw", "parameters": {"fails_on": ["TS_02"]}})
    project.run_workflow(Workflow.model_validate({"name": "f", "steps": steps}), executor=InProcessExecutor())
    assert {one.item.name for one in project.removable("results")} == {"TS_01"}


def test_a_step_run_by_hand_says_how_its_input_comes_back(project):
    worked_on(project, workflow())
    project.clean("results")
    with pytest.raises(UserInputError, match="resume --remake draw"):
        project.run("smooth", input="draw", executor=InProcessExecutor())
    diary = Diary()
    project.resume(executor=InProcessExecutor(), listener=diary, remake=["draw"])
    assert sorted(diary.worked_on) == [("draw", "TS_01"), ("draw", "TS_02")]
    assert not project.run("smooth", input="draw", executor=InProcessExecutor()).failed


def test_levels_are_parsed():
    assert parse_keep(["results", "draw=everything"]) == ("results", {"draw": "everything"})
    assert parse_keep([]) == ("everything", {})
    with pytest.raises(UserInputError, match="expected one of results, resumable, everything"):
        parse_keep(["draw=all"])


def test_a_single_step_is_kept(project):
    worked_on(project, workflow())
    assert {one.run.node for one in project.removable("results", {"draw": "everything"})} == {"smooth"}


def test_a_budget_is_held_by_removing_what_need_not_be_kept(project):
    """A stack takes 3 kB, a series 9 while it is made and 3 in the end."""
    size = 1024 + 4 * 5 * 8 * 10
    project.set_disk_policy(4 * size + 100, ["results"])
    assert Project.open(project.folder).disk_policy().budget_bytes == 4 * size + 100
    summary, _ = worked_on(project, workflow(n_series=2))
    assert summary.n_done == 8
    assert sum((project.folder / path).stat().st_size for path in stacks(project)) <= 4 * size + 100


def test_work_stops_before_the_budget_is_passed(project):
    size = 1024 + 4 * 5 * 8 * 10
    worked_on(project, workflow(n_series=1))
    project.set_disk_policy(4 * size)
    with pytest.raises(TransientError, match=r"there is no room .* of its budget") as error:
        worked_on(project, workflow(n_series=3))
    assert error.value.facts["needed_gb"] == 0.0
    assert len(stacks(project)) <= 4
    project.set_disk_policy(10**9)
    assert worked_on(project, workflow(n_series=3))[0].n_done == 12


def test_the_database_knows_what_was_removed(project):
    worked_on(project, workflow())
    project.clean("resumable")
    run = project.find_run("draw")
    item = Database.open(project.folder).items(run.id)[0]
    assert all(file.is_cleaned for file in item.files)
    assert np.isfinite(item.figures["mean"])
