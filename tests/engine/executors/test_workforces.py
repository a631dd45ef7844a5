"""Workers of this machine and of a user's Dask: how many, with which GPU, and which are refused."""

from __future__ import annotations

import os

import dask
import distributed
import pytest

from cryoloom.engine.executors.workforces import DaskWorkers, LocalWorkers
from cryoloom.errors import UserInputError


def test_workers_that_would_be_in_each_others_way_are_refused():
    with (
        dask.config.set({"distributed.worker.preload": []}),  # this worker is in the test's own process
        distributed.LocalCluster(
            processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0"
        ) as cluster,
        pytest.raises(UserInputError, match="start workers with --nthreads 1"),
    ):
        DaskWorkers(cluster.scheduler_address).connect()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x"])
def test_an_address_where_nobody_answers_is_refused(address, monkeypatch):
    monkeypatch.setattr("cryoloom.engine.executors.workforces._ANSWER_SECONDS", 1)
    with pytest.raises(UserInputError, match=r"no Dask scheduler|not the address"):
        DaskWorkers(address).connect()


@pytest.mark.parametrize(
    ("asked", "n_workers", "visible", "expected"),
    [
        ("auto", None, "", ["0", "1"]),
        ("cuda", None, "5,7", ["5", "7"]),
        ("cuda:1", None, "5,7", ["7"]),
        ("cuda", 4, "5,7", ["5", "7", "5", "7"]),  # asked for: they share
    ],
)
def test_every_gpu_has_one_worker_unless_more_are_asked_for(asked, n_workers, visible, expected, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", visible)
    workers = LocalWorkers(asked, n_workers)
    shown = [workers._options(i)["env"]["CUDA_VISIBLE_DEVICES"] for i in range(workers.n_workers)]
    assert shown == expected
    assert workers.resources.device == "cuda:0"
    with pytest.raises(UserInputError, match="there is no cuda:9"):
        LocalWorkers("cuda:9")


def test_without_a_gpu_workers_share_cores_and_memory():
    workers = LocalWorkers("cpu", 2)
    assert workers._options(0)["env"] == {}
    assert workers.resources.memory_bytes * 2 <= workers.shared_memory_bytes
    with pytest.raises(UserInputError, match="at least 1"):
        LocalWorkers("cpu", 0)
