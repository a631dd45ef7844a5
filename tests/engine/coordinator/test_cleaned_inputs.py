"""Work waits for input files that were removed, and what makes them again begins first."""

from __future__ import annotations

import pytest

from cryoloom.engine.coordinator.cleaned_inputs import CleanedInputs
from cryoloom.engine.coordinator.input_matching import WorkItem
from cryoloom.engine.graph.workflow import INPUT, Workflow
from cryoloom.engine.project import Project
from makers.fakes import fake_steps

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


def chain():
    return Workflow.model_validate(
        {"name": "chain", "steps": [{"step": s} for s in ("find_series", "draw", "smooth")]}
    )


@pytest.fixture
def project(tmp_path):
    project = Project.create(tmp_path / "project")
    project.run_workflow(chain())
    return project


def item_of(project, run, name="TS_01"):
    return next(item for item in project.database.items(project.find_run(run).id) if item.name == name)


def work(project, node, source, name="TS_01"):
    return WorkItem(chain().node(node), name, {INPUT: item_of(project, source, name)})


def remove(project, run):
    """The files of a run's items, as `cryoloom clean` does it."""
    items = project.database.items(project.find_run(run).id)
    project.database.mark_cleaned([item.id for item in items], (".mrc",))
    for item in items:
        for file in item.files:
            (project.folder / file.path).unlink(missing_ok=True)


def test_nothing_waits_where_nothing_was_removed(project):
    made = CleanedInputs(project.folder, project.database)
    made.note(item_of(project, "draw"), work(project, "draw", "find_series"))
    assert made.needed_by(work(project, "smooth", "draw")) == (False, [])
    assert not made.lacks_for_good(item_of(project, "smooth"), project.find_run("smooth").id)
    assert made.missing_of([item_of(project, "smooth")]) == []


def test_the_work_that_made_them_begins_once(project):
    remove(project, "draw")
    made = CleanedInputs(project.folder, project.database)
    maker = work(project, "draw", "find_series")
    made.note(item_of(project, "draw"), maker)
    waits, first = made.needed_by(work(project, "smooth", "draw"))
    assert waits
    assert first == [maker]
    # Another piece of work on the same files waits too, and begins nothing twice.
    assert made.needed_by(work(project, "smooth", "draw")) == (True, [])
    assert not any(file.is_cleaned for file in item_of(project, "draw").files)  # missing now, not removed


def test_other_series_do_not_wait(project):
    remove(project, "draw")
    made = CleanedInputs(project.folder, project.database)
    made.note(item_of(project, "draw"), work(project, "draw", "find_series"))
    assert made.needed_by(work(project, "smooth", "draw", "TS_02")) == (False, [])


def test_files_of_another_run_do_not_come_back_under_their_names(project):
    remove(project, "draw")
    made = CleanedInputs(project.folder, project.database)
    known = item_of(project, "draw")
    assert made.lacks_for_good(known, known.run_id + 100)
    assert not made.lacks_for_good(known, known.run_id)


def test_items_that_refer_to_removed_files_are_named(project):
    remove(project, "draw")
    made = CleanedInputs(project.folder, project.database)
    names = made.missing_of([item_of(project, "draw", name) for name in ("TS_01", "TS_02")])
    assert names == ["TS_01", "TS_02"]
