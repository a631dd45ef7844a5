"""Fan-in, parts of one item's work, and fan-out survive deaths as everything else does."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import dask
import numpy as np
import psutil
import pytest

from cryoloom.engine.executors.dask_executor import DaskExecutor
from cryoloom.engine.executors.executor import InProcessExecutor
from cryoloom.engine.executors.workforces import LocalWorkers
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from makers.crashes import FAKE_PROGRAM, TESTS, descendants, kill, recorded, start
from makers.fakes import fake_steps

__all__ = ["fake_steps"]
pytestmark = pytest.mark.usefixtures("fake_steps")

N_SERIES, N_PARTS = 4, 5


class Session:
    """A plan of all kinds of steps, its project, and what its steps have begun."""

    def __init__(self, folder: Path) -> None:
        self.project_folder = folder / "project"
        self.tallies = {name: folder / name for name in ("draw", "average_all", "spread")}
        for tally in self.tallies.values():
            tally.mkdir()
        n_series = {"n_series": N_SERIES}
        steps = [
            {"step": "find_series", "parameters": n_series},
            {"step": "draw", "parameters": {"seconds": 0.2, "tally": str(self.tallies["draw"])}},
            {
                "step": "average_all",
                "parameters": {"seconds": 0.4, "tally": str(self.tallies["average_all"])},
            },
            {"step": "smooth", "input": "average_all.series"},
            {
                "step": "spread",
                "parameters": {"n_parts": N_PARTS, "seconds": 0.2, "tally": str(self.tallies["spread"])},
            },
        ]
        self.plan = Workflow.model_validate({"name": "all kinds", "steps": steps})

    def n_begun(self, step: str) -> int:
        return len(list(self.tallies[step].iterdir()))

    def start(self, executor: str):
        return start(FAKE_PROGRAM, self.project_folder, executor, self.plan.model_dump_json())

    def wait_for(self, step: str, n_more: int, process) -> bool:
        """Wait until a step has begun some more; False where the process ended before."""
        wanted = self.n_begun(step) + n_more
        while self.n_begun(step) < wanted and process.poll() is None:
            time.sleep(0.01)
        return process.poll() is None

    def check(self, before) -> dict:
        """Nothing recorded is lost, and an item is never without the parts that its work gave."""
        now = recorded(self.project_folder)
        assert before.items() <= now.items()
        project = Project.open(self.project_folder)
        runs = {run.id: run.node for run in project.database.runs()}
        for item in project.database.items(with_values=False):
            if runs[item.run_id] == "average_all" and item.part_of is None and item.state == "done":
                assert len(project.database.parts_of(item.id)) == N_SERIES
        project.database.close()
        return now

    def results(self, executor=None) -> list[np.ndarray]:
        """Finish, and give all pixels of the last steps."""
        project = Project.open(self.project_folder, create=True)
        summary = project.run_workflow(self.plan, executor=executor or InProcessExecutor("cpu"))
        assert not summary.failed
        assert not list(project.folder.rglob("*.part"))
        assert not list(project.folder.rglob(".scratch*"))
        smoothed = project.database.items(project.find_run("smooth").id)
        (whole,) = project.database.items(project.find_run("spread").id)
        assert len(smoothed) == N_SERIES
        return [project.value(whole).map[:], *(project.value(item).weighted.images[:] for item in smoothed)]


def assert_same(results, others) -> None:
    for mine, its in zip(results, others, strict=True):
        np.testing.assert_array_equal(mine, its)


def undisturbed(session: Session) -> list[np.ndarray]:
    """The same plan in another project, where nobody dies."""
    session.project_folder = session.project_folder.with_name("undisturbed")
    return session.results()


@pytest.mark.parametrize("executor", ["threads", pytest.param("local", marks=pytest.mark.slow)])
def test_a_coordinator_killed_at_every_stage_loses_nothing(tmp_path, rng, executor):
    session, before = Session(tmp_path), {}
    n_killed = 0
    for step, n_more in (("draw", 2), ("average_all", 1), ("spread", 2)):
        process = session.start(executor)
        session.wait_for(step, n_more, process)
        time.sleep(rng.uniform(0, 0.1))
        workers = descendants(process)
        n_killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(workers, timeout=30)
        assert not alive
        before = session.check(before)
    results = session.results()
    assert n_killed == 3
    assert session.n_begun("average_all") <= 1 + n_killed
    assert session.n_begun("draw") <= N_SERIES + 2 * n_killed
    assert session.n_begun("spread") <= N_PARTS * (1 + n_killed)
    assert_same(results, undisturbed(session))


@pytest.mark.slow  # workers start again and again; its fast twin is in test_dask_executor
def test_workers_killed_while_parts_are_done_cost_parts_or_the_step(tmp_path, rng):
    session = Session(tmp_path)
    process = session.start("local")
    for n_more in (1, 3):
        assert session.wait_for("spread", n_more, process)
        busy = [one for one in descendants(process) if "spawn_main" in " ".join(one.cmdline())]
        kill([busy[rng.integers(len(busy))]])
    assert process.wait(240) == 0
    session.check({})
    assert session.n_begun("spread") <= 3 * N_PARTS
    assert session.n_begun("average_all") == 1  # what was recorded stays
    assert_same(session.results(), undisturbed(session))


@pytest.mark.slow  # as above
def test_a_coordinator_killed_beside_a_dask_cluster_that_lives_on(tmp_path):
    session, before = Session(tmp_path), {}
    with dask.config.set({"distributed.worker.preload": [str(TESTS / "makers" / "fakes_on_workers.py")]}):
        cluster = DaskExecutor(LocalWorkers("cpu", n_workers=2))
        client = cluster._workforce.connect()
        try:
            for step in ("average_all", "spread"):
                process = session.start(f"dask:{client.scheduler.address}")
                assert session.wait_for(step, 1, process)
                process.send_signal(signal.SIGKILL)
                process.wait()
                before = session.check(before)
            process = session.start(f"dask:{client.scheduler.address}")
            assert process.wait(120) == 0
            session.check(before)
        finally:
            client.close()
            cluster.close()
    assert_same(session.results(), undisturbed(session))
