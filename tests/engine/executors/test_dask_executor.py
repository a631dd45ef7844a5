"""Tasks in worker processes: the same results, deaths that cost one item at most, stops that arrive."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import dask
import numpy as np
import pytest

from cryoloom.engine.coordinator.null_listener import NullListener
from cryoloom.engine.executors.dask_executor import N_TRIES, DaskExecutor
from cryoloom.engine.executors.executor import InProcessExecutor
from cryoloom.engine.executors.workforces import DaskWorkers, LocalWorkers
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.history.results import final_items
from cryoloom.engine.project import Project
from cryoloom.engine.worker.task import Resources, Task
from makers.fakes import fake_steps

__all__ = ["fake_steps"]
PRELOAD = str(Path(__file__).resolve().parents[2] / "makers" / "fakes_on_workers.py")


class Lent(DaskExecutor):
    """Stays open when a run ends, for the next test."""

    def close(self):
        """Not yet."""

    def really_close(self):
        super().close()


@pytest.fixture(scope="module")
def workers():
    """Two worker processes that know the fake steps."""
    with dask.config.set({"distributed.worker.preload": [PRELOAD]}):
        executor = Lent(LocalWorkers("cpu", n_workers=2))
        yield executor
        executor.really_close()


@pytest.fixture
def project(tmp_path):
    return Project.create(tmp_path / "project")


def workflow(**parameters):
    steps = [{"step": name, "parameters": values} for name, values in parameters.items()]
    return Workflow.model_validate({"name": "fake", "steps": [{"step": "find_series"}, *steps]})


def images_of(project):
    return {item.name: project.value(item).best_stack.images[:] for item in final_items(project.database)}


class Diary(NullListener):
    def __init__(self):
        self.told = []

    def progress(self, task, done, total):
        self.told.append((task.node, task.item, done, total))


@pytest.mark.usefixtures("fake_steps")
def test_workers_give_what_threads_give_and_tell_how_far_they_are(project, tmp_path, workers):
    diary = Diary()
    summary = project.run_workflow(workflow(draw={}, smooth={}), executor=workers, listener=diary)
    assert summary.n_done == 9
    assert {"draw", "smooth"} >= {node for node, *_ in diary.told} >= {"draw"}
    assert all(0 < done <= total for *_, done, total in diary.told)
    other = Project.create(tmp_path / "other")
    other.run_workflow(workflow(draw={}, smooth={}), executor=InProcessExecutor("cpu"))
    mine, its = images_of(project), images_of(other)
    assert mine.keys() == its.keys() == {"TS_01", "TS_02", "TS_03"}
    for name, images in mine.items():
        np.testing.assert_array_equal(images, its[name])
    made_by = {item.host for item in project.database.items() if item.files}
    assert len(made_by) == 1


@pytest.mark.usefixtures("fake_steps")
def test_a_killed_worker_costs_a_second_try(project, tmp_path, workers):
    counter = tmp_path / "deaths"
    counter.mkdir()
    peril = {"deadly": ["TS_02"], "n_deaths": 1, "counter": str(counter)}
    summary = project.run_workflow(workflow(peril=peril), executor=workers)
    assert len(list(counter.iterdir())) == 1
    assert not summary.failed
    assert len(images_of(project)) == 3
    assert not list(project.folder.rglob("*.part"))


@pytest.mark.slow  # workers start again and again; its fast twin is above
@pytest.mark.usefixtures("fake_steps")
def test_an_item_that_kills_every_worker_fails_alone_with_a_sentence(project, tmp_path, workers):
    counter = tmp_path / "deaths"
    counter.mkdir()
    peril = {"deadly": ["TS_02"], "n_deaths": 99, "counter": str(counter)}
    summary = project.run_workflow(workflow(peril=peril), executor=workers)
    assert len(list(counter.iterdir())) == N_TRIES
    assert [item.name for item in summary.failed] == ["TS_02"]
    error = summary.failed[0].error
    assert error["kind"] == "TransientError"
    assert f"was lost {N_TRIES} times" in error["message"]
    assert error["facts"]["step_declares_gib"] == "1.0"
    drawn = {item.name for item in project.database.items() if item.files}
    assert drawn == {"TS_01", "TS_03"}
    assert not list(project.folder.glob("runs/*_peril/TS_02/images.mrc"))


def gathering(**parameters):
    steps = [{"step": "find_series"}, {"step": "draw"}, {"step": "spread", "parameters": parameters}]
    return Workflow.model_validate({"name": "gathering", "steps": steps})


def average_of(project):
    (item,) = project.database.items(project.find_run("spread").id)
    return project.value(item).map[:]


@pytest.mark.usefixtures("fake_steps")
def test_parts_are_spread_over_the_workers_and_give_the_same_bits(project, tmp_path, workers):
    tally = tmp_path / "tally"
    tally.mkdir()
    spread = {"n_parts": 6, "large": True, "seconds": 0.2, "tally": str(tally)}
    project.run_workflow(workflow(draw={}), executor=workers)
    workers._client.wait_for_workers(2, timeout=60)  # one may be starting again
    summary = project.run_workflow(gathering(**spread), executor=workers)
    assert not summary.failed
    begun = [path.name.split("-") for path in tally.iterdir()]
    assert sorted(int(i) for i, *_ in begun) == list(range(6))
    assert len({process for _, process, _ in begun}) == 2  # also that of the step itself
    for n_workers in (1, 3):
        other = Project.create(tmp_path / f"other_{n_workers}")
        other.run_workflow(gathering(**spread), executor=InProcessExecutor("cpu", n_workers=n_workers))
        np.testing.assert_array_equal(average_of(project), average_of(other))


@pytest.mark.usefixtures("fake_steps")
def test_a_part_that_kills_its_worker_is_done_again(project, tmp_path, workers):
    counter = tmp_path / "deaths"
    counter.mkdir()
    deadly = {"deadly_part": 3, "counter": str(counter)}
    summary = project.run_workflow(gathering(**deadly), executor=workers)
    assert not summary.failed
    assert len(list(counter.iterdir())) == 1
    other = Project.create(tmp_path / "other")
    other.run_workflow(gathering(**deadly), executor=InProcessExecutor("cpu"))  # nobody dies any more
    np.testing.assert_array_equal(average_of(project), average_of(other))
    assert not list(project.folder.rglob("*.part"))


@pytest.mark.usefixtures("fake_steps")
def test_a_stop_reaches_the_workers(project, workers):
    clock = time.perf_counter()

    def stop_once_the_source_is_done():
        while len(project.database.items()) < 3 and time.perf_counter() - clock < 60:
            time.sleep(0.2)
        time.sleep(0.5)
        project.stop()

    waiting = threading.Thread(target=stop_once_the_source_is_done)
    waiting.start()
    summary = project.run_workflow(workflow(draw={"seconds": 60.0}), executor=workers)
    waiting.join()
    assert summary.stopped
    assert time.perf_counter() - clock < 80  # it would take 90 seconds to the end
    assert not list(project.folder.rglob("*.part"))
    assert [item.state for item in project.database.items()] == ["done"] * 3  # of the source


@pytest.mark.usefixtures("fake_steps")
def test_a_worker_that_outlives_its_coordinator_writes_nothing(project, workers):
    class Usurper(Diary):
        def progress(self, task, done, total):
            super().progress(task, done, total)
            lock = project.folder / ".coordinator"
            lock.write_text("process 1 on another machine\nsomebody else\n")

    one = {"step": "find_series", "parameters": {"n_series": 1}}
    plan = Workflow.model_validate(
        {"name": "x", "steps": [one, {"step": "draw", "parameters": {"seconds": 3}}]}
    )
    project.run_workflow(plan, executor=workers, listener=Usurper())
    assert not list(project.folder.glob("runs/*_draw/*/*"))


@pytest.mark.usefixtures("fake_steps")
def test_a_dask_cluster_of_the_user_is_used_by_its_address(project, workers):
    project.run_workflow(workflow(draw={}), executor=workers)  # so that they are there
    address = workers._client.scheduler.address
    other = Project.create(project.folder.with_name("other"))
    executor = DaskExecutor(DaskWorkers(address, "cpu"))
    assert executor.n_slots == 2
    summary = other.run_workflow(workflow(draw={}), executor=executor)
    assert summary.n_done == 6


def task(item):
    return Task(
        project=Path("/p"),
        node="peril",
        step="peril",
        parameters={},
        run_folder="runs/1",
        run_id=1,
        item=item,
        key="1",
        value={"$type": "no such type"},
    )


class Machine:
    """A workforce of one machine, nobody in it."""

    n_workers, is_ours, retries_itself = 4, True, False
    resources = Resources("cpu", 1, 1 << 30)

    def __init__(self, memory_bytes):
        self.shared_memory_bytes = memory_bytes


@pytest.mark.usefixtures("fake_steps")
@pytest.mark.parametrize(("gib", "n_fitting"), [(0.5, 1), (1, 1), (2, 2), (3.5, 3)])
def test_as_many_run_as_fit_into_memory_by_what_steps_declare(gib, n_fitting, monkeypatch):
    monkeypatch.setattr(
        "cryoloom.engine.executors.dask_executor.bytes_needed", lambda task: 1 << 30
    )  # 1 GiB each
    executor = DaskExecutor(Machine(int(gib * 2**30)))
    n = 0
    while executor.has_room(task(f"TS_{n}")) and n < 10:
        granted = executor._granted(task(f"TS_{n}"))
        executor._attempts[str(n)] = type("Attempt", (), {"bytes_granted": granted})
        n += 1
    assert n == n_fitting
