"""Threads of this process: results as futures, parts within the same places, and devices as asked for."""

from __future__ import annotations

import pytest
import torch

from cryoloom.engine.executors.executor import (
    InProcessExecutor,
    choose_device,
    memory_for_steps,
    n_cores,
)
from cryoloom.engine.worker.task import Resources, Task, execute
from cryoloom.model import Microscope, Tilt, TiltSeries
from cryoloom.store.codec import encode
from makers.fakes import fake_steps

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


def draw(project, name, **parameters):
    tilts = tuple(Tilt(k, 3.0 * k, 3.0 * k, 3.0 * k + 3.0) for k in range(5))
    value = encode(TiltSeries(name, Microscope(), 2.5, tilts), project)
    return Task(
        project=project,
        node="draw",
        step="draw",
        parameters=parameters,
        run_folder="runs/002_draw",
        run_id=2,
        item=name,
        key="00112233445566778899",
        value=value,
    )


@pytest.mark.parametrize("n_workers", [1, 3])
def test_tasks_end_with_their_result_or_their_error(tmp_path, n_workers):
    executor = InProcessExecutor("cpu", n_workers)
    reported = []
    names = [f"TS_{i}" for i in range(4)]

    def tell(task, done, total):
        reported.append((task.item, done, total))

    futures = [executor.submit(draw(tmp_path, name, fails_on=["TS_2"]), tell) for name in names]
    outcomes = [future.result(timeout=60) for future in futures]
    executor.close()
    assert [outcome.task.item for outcome in outcomes] == names
    assert [outcome.error is None for outcome in outcomes] == [True, True, False, True]
    assert outcomes[2].error["kind"] == "DataUnfitError"
    assert ("TS_0", 5, 5) in reported
    again = execute(outcomes[3].task, Resources("cpu", 1, 1 << 30), lambda done, total: None)
    assert again.figures["mean"] == outcomes[3].figures["mean"]  # the same random numbers on any thread


def test_what_waits_when_it_closes_is_not_begun(tmp_path):
    executor = InProcessExecutor("cpu", 1)
    futures = [executor.submit(draw(tmp_path, f"TS_{i}", seconds=0.3), lambda *_: None) for i in range(4)]
    futures[0].result(timeout=60)
    executor.close()
    assert futures[-1].cancelled()
    assert not (tmp_path / "runs/002_draw/TS_3").exists()


def test_workers_share_memory_and_cores():
    one, four = InProcessExecutor("cpu", 1, 8 << 30), InProcessExecutor("cpu", 4, 8 << 30)
    assert one._resources.memory_bytes == 8 << 30
    assert four._resources.memory_bytes == 2 << 30
    assert four._resources.n_threads == max(1, n_cores() // 4)
    assert four._resources.parts_at_once == 4
    assert 0 < memory_for_steps()
    one.close()
    four.close()


def test_a_device_is_chosen_or_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(RuntimeError, match="no CUDA device is usable here"):
        choose_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [choose_device(asked) for asked in ("auto", "cuda", "cuda:1", "cpu")] == [
        "cuda:0", "cuda:0", "cuda:1", "cpu",
    ]  # fmt: skip
