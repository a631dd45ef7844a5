"""Whether a task may begin: what it will write must fit beside what those under way will."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cryoloom.engine.coordinator import disk_budget
from cryoloom.engine.coordinator.disk_budget import DiskBudget, DiskPolicy
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.errors import TransientError
from makers.fakes import fake_steps

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]

GB = 1_000_000_000


@pytest.fixture
def project(tmp_path):
    project = Project.create(tmp_path / "project")
    steps = [{"step": "find_series"}, {"step": "draw"}, {"step": "smooth"}]
    project.run_workflow(Workflow.model_validate({"name": "chain", "steps": steps}))
    return project


@pytest.fixture
def disk(monkeypatch):
    """A disk of 1000 GB, of which some is free."""

    def of(free):
        usage = SimpleNamespace(total=1000 * GB, free=free)
        monkeypatch.setattr(disk_budget.shutil, "disk_usage", lambda folder: usage)

    return of


@pytest.fixture
def task(monkeypatch):
    """Tasks of a step that declares how much it writes."""
    monkeypatch.setattr(disk_budget, "bytes_stored", lambda task: task.bytes)
    return lambda n_bytes, node="reconstruct", item="TS_01": SimpleNamespace(
        node=node, item=item, bytes=n_bytes
    )


def budget(project, **policy):
    return DiskBudget(project.folder, project.database, DiskPolicy(**policy))


def test_what_fits_may_begin_and_half_a_gigabyte_stays_free(project, disk, task):
    disk(3 * GB)
    made = budget(project)
    assert made.has_room(task(int(2.5 * GB)), ())
    with pytest.raises(TransientError, match="no room for what reconstruct of TS_01 will write: the disk is"):
        made.has_room(task(int(2.6 * GB)), ())


def test_it_waits_for_those_under_way_rather_than_failing(project, disk, task):
    disk(3 * GB)
    made = budget(project)
    running = [task(2 * GB, item="TS_02")]
    assert not made.has_room(task(GB), running)
    assert made.has_room(task(GB), ())


def test_a_task_that_writes_nothing_may_always_begin(project, disk, task):
    disk(0)
    assert budget(project).has_room(task(0), [task(GB)])


def test_the_budget_counts_what_the_project_has_and_what_is_written(project, disk, task):
    disk(900 * GB)
    taken = sum(file.bytes for item in project.database.items() for file in item.files)
    made = budget(project, budget_bytes=taken + 2 * GB)
    assert made.has_room(task(2 * GB - 1), ())
    outcome = SimpleNamespace(task=task(0), files=[SimpleNamespace(bytes=int(1.5 * GB))])
    made.written(outcome)
    with pytest.raises(TransientError, match=r"takes 1\.5 GB of its budget of 2\.0 GB") as raised:
        made.has_room(task(GB), ())
    assert raised.value.facts == {"needed_gb": 1.5, "room_gb": 0.5}  # an item of that node took 1.5 GB


def test_what_an_item_took_counts_where_its_step_declares_less(project, disk, task):
    disk(4 * GB)
    made = budget(project)
    made.written(SimpleNamespace(task=task(0), files=[SimpleNamespace(bytes=3 * GB)]))
    assert not made.has_room(task(1000), [task(1000, item="TS_02")])  # 3 GB each
    assert made.has_room(task(1000, node="another"), [task(1000, item="TS_02")])


def test_files_that_need_not_be_kept_are_removed_first(project, disk, task):
    disk(900 * GB)
    taken = sum(file.bytes for item in project.database.items() for file in item.files)
    files = list(project.folder.glob("runs/*_draw/*/images.mrc"))
    assert files
    made = budget(project, budget_bytes=taken, keep="results")
    assert made.has_room(task(taken // 2), ())
    assert not any(path.exists() for path in files)
    assert all(file.is_cleaned for item in project.database.items(2) for file in item.files)
