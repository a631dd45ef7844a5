"""Furthest work first, one state of an item at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoloom.engine.coordinator.work_queue import WorkQueue
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.worker.task import Task
from makers.fakes import fake_steps

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


@pytest.fixture
def queue():
    steps = [
        {"step": "find_series"},
        {"step": "draw"},
        {"name": "left", "step": "smooth", "input": "draw"},
        {"name": "right", "step": "smooth", "input": "draw"},
    ]
    return WorkQueue(Workflow.model_validate({"name": "fork", "steps": steps}))


def task(node, item, key="1"):
    return Task(
        project=Path("/p"),
        node=node,
        step=node,
        parameters={},
        run_folder=f"runs/{node}",
        run_id=1,
        item=item,
        key=key,
        value={},
    )


def test_the_furthest_work_comes_first(queue):
    for node, item in (("draw", "TS_02"), ("left", "TS_01"), ("right", "TS_01")):
        queue.push(task(node, item))
    assert [queue.pop(()).node for _ in range(3)] == ["right", "left", "draw"]
    assert queue.pop(()) is None


def test_branches_of_an_item_run_beside_each_other(queue):
    queue.push(task("right", "TS_01"))
    assert queue.pop([task("left", "TS_01")]).node == "right"


def test_a_newer_state_takes_the_place_of_older_ones(queue):
    queue.push(task("left", "TS_01", "old"))
    queue.push(task("draw", "TS_01", "older"))
    queue.push(task("left", "TS_02", "other"))
    queue.drop("draw", "TS_01")
    queue.push(task("draw", "TS_01", "new"))
    assert len(queue) == 2
    assert queue.awaits_newer("left", "TS_01")
    assert not queue.awaits_newer("draw", "TS_02")
    assert [queue.pop(()).key for _ in range(2)] == ["other", "new"]
    assert queue.pop(()) is None


@pytest.mark.parametrize("reader", ["draw", "left", "right"])
def test_nothing_replaces_files_that_are_being_read(queue, reader):
    queue.push(task("draw", "TS_01", "new"))
    assert queue.pop([task(reader, "TS_01", "old")]) is None
    assert queue.pop([task(reader, "TS_02")]).key == "new"
