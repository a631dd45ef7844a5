"""The loop with live sources: it works while they bring nothing, and ends when they are closed."""

from __future__ import annotations

import time

import pytest

from cryoloom.engine.coordinator.sources import source_items
from cryoloom.engine.executors.executor import InProcessExecutor
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.model import Microscope, Tilt, TiltSeries
from cryoloom.store.codec import encode, fingerprint
from cryoloom.store.records import ItemRecord
from makers.fakes import fake_steps
from makers.graphs import Diary

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


def workflow(seconds=0.0):
    steps = [
        {"step": "find_series"},
        {"step": "draw", "parameters": {"seconds": seconds}},
        {"step": "smooth"},
    ]
    return Workflow.model_validate({"name": "fake", "steps": steps})


@pytest.fixture
def project(tmp_path):
    return Project.create(tmp_path / "project")


class DiaryOfResults(Diary):
    """Remembers each result as well: node, item, last tilt."""

    def __init__(self):
        super().__init__()
        self.finished_items = []

    def finished(self, node, item):
        last = item.value["tilts"][-1]["acquisition_index"] if item.value else None  # none where it is reused
        self.finished_items.append((node, item.name, last))


class FakeAcquisition:
    """A live source driven by a script: series names with their number of tilts, pauses, and an end."""

    def __init__(self, script):
        self.script = script
        self.n_asked_in_vain = 0

    def __call__(self, node, run, project):
        for entry in self.script:
            if isinstance(entry, float):
                end = time.monotonic() + entry
                while time.monotonic() < end:
                    self.n_asked_in_vain += 1
                    yield None
                continue
            if callable(entry):
                while not entry():
                    yield None
                continue
            name, n_tilts = entry
            tilts = tuple(Tilt(k, 3.0 * k, 3.0 * k, 3.0 * k + 3.0) for k in range(n_tilts))
            value = encode(TiltSeries(name, Microscope(), 2.5, tilts), project)
            yield ItemRecord(run.id, name, fingerprint(name, n_tilts), "done", value=value)


def test_items_are_worked_on_while_the_source_is_open(project):
    diary = DiaryOfResults()
    smoothed = lambda: ("smooth", "TS_01", 4) in diary.finished_items  # noqa: E731
    acquisition = FakeAcquisition([0.5, ("TS_01", 5), smoothed, ("TS_02", 5)])
    summary = project.run_workflow(workflow(), listener=diary, open_source=acquisition)
    assert summary.n_done == 6
    assert not summary.stopped
    assert 1 <= acquisition.n_asked_in_vain < 50  # the loop rests between two looks
    assert [run.state for run in project.database.runs()] == ["done"] * 3


def test_a_growing_series_is_worked_on_in_its_newest_state(project):
    diary = DiaryOfResults()
    drawing = lambda: "draw" in [node for node, _ in diary.worked_on]  # noqa: E731
    growing = [0.1, ("TS_01", 2), drawing, ("TS_01", 3), ("TS_01", 4)]
    summary = project.run_workflow(workflow(1.0), listener=diary, open_source=FakeAcquisition(growing))
    states = {
        node: [last for at, _, last in diary.finished_items if at == node]
        for node in ("find_series", "draw", "smooth")
    }
    assert states["find_series"] == [1, 2, 3]
    assert states["draw"] == [1, 3]  # the state between had its place taken while the first was drawn
    assert states["smooth"] == [3]  # and the first went no further
    assert not summary.failed
    assert {item.name for item in project.database.items()} == {"TS_01"}


def test_a_partner_of_an_earlier_run_serves_every_state_of_a_growing_series(project):
    once = FakeAcquisition([("TS_01", 2)])
    project.run_workflow(workflow(), listener=DiaryOfResults(), open_source=once)
    further = f"run:{project.find_run('smooth').id}"
    merging = Workflow.model_validate({"name": "merging", "steps": [
        {"step": "find_series"}, {"step": "draw"}, {"step": "merge", "second_from": further},
    ]})  # fmt: skip
    diary = DiaryOfResults()
    merged = lambda: any(node == "merge" for node, _, _ in diary.finished_items)  # noqa: E731
    growing = FakeAcquisition([0.1, ("TS_01", 2), merged, ("TS_01", 3)])

    def sources(node, run, folder):
        return growing(node, run, folder) if node.input is None else source_items(node, run, folder)

    summary = project.run_workflow(merging, listener=diary, open_source=sources)
    assert not summary.failed
    assert [last for node, _, last in diary.finished_items if node == "merge"] == [1, 2]


def test_arrivals_are_recorded_while_every_worker_is_busy(project):
    seen = {}

    class Watcher(DiaryOfResults):
        def finished(self, node, item):
            super().finished(node, item)
            if node == "draw" and item.name == "TS_01":
                seen["arrived"] = [n for d, n, _ in self.finished_items if d == "find_series"]

    script = [0.0, ("TS_01", 5), 0.3, ("TS_02", 5), ("TS_03", 5)]
    project.run_workflow(
        workflow(1.0),
        listener=Watcher(),
        executor=InProcessExecutor("cpu", n_workers=1),
        open_source=FakeAcquisition(script),
    )
    assert seen["arrived"] == ["TS_01", "TS_02", "TS_03"]


def test_a_stop_ends_an_open_source(project):
    diary = DiaryOfResults()

    def never_after_a_stop():
        if ("smooth", "TS_01", 4) in diary.finished_items:
            project.stop()
        return False

    forever = FakeAcquisition([("TS_01", 5), never_after_a_stop])
    summary = project.run_workflow(workflow(), listener=diary, open_source=forever)
    assert summary.stopped
    assert summary.n_done == 3


def test_a_source_that_fails_later_keeps_what_was_done(project):
    def failing(node, run, project):
        yield from FakeAcquisition([("TS_01", 5), 0.5])(node, run, project)
        raise OSError("the microscope's disk went away")

    with pytest.raises(OSError, match="went away"):
        project.run_workflow(workflow(), open_source=failing)
    assert [item.state for item in project.database.items()] == ["done"] * 3
    assert {run.state for run in project.database.runs()} == {"done"}
