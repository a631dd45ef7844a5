"""Parts of a step's work on Dask workers: large arrays are sent once, results and losses come back."""

from __future__ import annotations

import numpy as np
import pytest
from distributed import Client, LocalCluster

from cryoloom.engine.executors import dask_parts
from cryoloom.engine.executors.dask_parts import parts_of_this_worker
from cryoloom.engine.worker.parts import PartTask
from cryoloom.engine.worker.resources import Resources

RESOURCES = Resources("cpu", 1, 1 << 30)


def scaled(part, context):
    """A part that several share a large array with."""
    return {"sum": np.array(part["image"].sum() * part["factor"]), "rows": np.array(len(part["lines"][0]))}


def failing(part, context):
    raise ValueError("a part that cannot be done")


def nothing():
    """What is called first on the worker of a part."""


def task(tmp_path, function, part):
    return PartTask(
        project=tmp_path,
        what="spread of all",
        function=f"{function.__module__}:{function.__name__}",
        part=part,
        seed=(1, 0),
        scratch=tmp_path / "scratch",
        coordinator="",
    )


@pytest.fixture
def client():
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def pool(client, monkeypatch):
    """A pool as a task on a worker opens it; this test is not a task, so it does not secede."""
    monkeypatch.setattr(dask_parts, "secede", lambda: None)
    monkeypatch.setattr(dask_parts, "get_client", lambda: client)
    with parts_of_this_worker(RESOURCES, nothing)() as made:
        yield made


def test_a_large_array_is_sent_once_for_all_parts(pool, tmp_path, monkeypatch):
    sent = []
    scatter = pool._client.scatter
    monkeypatch.setattr(pool._client, "scatter", lambda data, **how: sent.append(1) or scatter(data, **how))
    image = np.ones((600, 600), np.float32)  # 1.4 MB
    parts = [{"image": image, "factor": k, "lines": [list(range(k))]} for k in (1, 2, 3)]
    futures = [pool.submit(task(tmp_path, scaled, part)) for part in parts]
    outcomes = [future.result(timeout=30) for future in futures]
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert [float(outcome.arrays["sum"]) for outcome in outcomes] == [360000.0, 720000.0, 1080000.0]
    assert [int(outcome.arrays["rows"]) for outcome in outcomes] == [1, 2, 3]
    assert len(sent) == 1


def test_the_error_of_a_part_comes_back_as_its_own(pool, tmp_path):
    outcome = pool.submit(task(tmp_path, failing, {})).result(timeout=30)
    assert outcome.arrays == {}
    assert "a part that cannot be done" in outcome.error["message"]


def test_a_worker_that_does_not_see_the_project_says_so(pool, tmp_path):
    outcome = pool.submit(task(tmp_path / "elsewhere", scaled, {})).result(timeout=30)
    assert "does not see" in outcome.error["message"]
    assert outcome.error["kind"] == "TransientError"


def test_arrays_are_let_go_at_the_end(client, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_parts, "secede", lambda: None)
    monkeypatch.setattr(dask_parts, "get_client", lambda: client)
    with parts_of_this_worker(RESOURCES, nothing)() as made:
        part = {"image": np.ones((600, 600), np.float32), "factor": 1, "lines": [[]]}
        made.submit(task(tmp_path, scaled, part)).result(timeout=30)
        assert made._sent
    assert not made._sent
