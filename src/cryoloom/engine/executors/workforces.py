"""Sources of Dask workers: processes of this machine, or a Dask cluster that the user has started."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from typing import Any

import dask
import torch
from distributed import Client, Nanny, Scheduler, SpecCluster

from cryoloom.engine.executors.dask_executor import DASK_SETTINGS, silent_dask
from cryoloom.engine.executors.executor import choose_device, memory_for_steps, n_cores
from cryoloom.engine.worker.task import Resources
from cryoloom.errors import TransientError, UserInputError
from cryoloom.version import __version__

__all__ = ["NO_DASHBOARD", "DaskWorkers", "LocalWorkers"]

_CORES_PER_WORKER = 4
"""Chosen: kernels use the cores of a worker well; more workers need more memory."""
_LEAST_BYTES = 2 << 30
"""Least memory of a useful worker."""
_ANSWER_SECONDS = 20
_LOOK_SECONDS = 10
_START_SECONDS = 300
"""Chosen: the user's scheduler must answer within the first, workers are counted every second one, and the
start of a process on a loaded machine takes less than the last."""
NO_DASHBOARD = {"dashboard": False, "dashboard_address": ":0"}
"""Port 8787 may be another coordinator's."""


class LocalWorkers:
    """Processes of this machine: one per GPU, or one per few cores.

    Tasks run in parallel as far as the memory that their steps declare fits into the machine's. With more
    workers than GPUs, which must be requested, several share one.
    """

    is_ours = True
    retries_itself = False

    def __init__(self, device: str = "auto", n_workers: int | None = None) -> None:
        self._gpus = [] if choose_device(device) == "cpu" else _gpus("cuda" if device == "auto" else device)
        self.shared_memory_bytes: int | None = max(_LEAST_BYTES, memory_for_steps())
        fitting = max(1, min(n_cores() // _CORES_PER_WORKER, self.shared_memory_bytes // _LEAST_BYTES))
        if n_workers is not None and n_workers < 1:
            raise UserInputError(f"{n_workers} workers cannot do anything; ask for at least 1")
        self.n_workers = n_workers or len(self._gpus) or fitting
        self.resources = Resources(
            "cuda:0" if self._gpus else "cpu",
            max(1, n_cores() // self.n_workers),
            self.shared_memory_bytes // self.n_workers,
        )
        self._open = contextlib.ExitStack()
        self._client: Client | None = None
        self._seen = 0.0
        """Time at which a worker was last connected."""

    def connect(self) -> Client:
        """Start the worker processes; takes a few seconds."""
        # Dask would drop a worker that restarts slowly, without a replacement.
        settings = {**DASK_SETTINGS, "distributed.deploy.lost-worker-timeout": "1 day"}
        self._open.enter_context(dask.config.set(settings))
        self._open.enter_context(silent_dask())
        cluster = SpecCluster(
            workers={i: {"cls": Nanny, "options": self._options(i)} for i in range(self.n_workers)},
            scheduler={
                "cls": Scheduler,
                "options": {"host": "127.0.0.1", "port": 0, **NO_DASHBOARD},
            },
            silence_logs=False,
        )
        self._open.callback(cluster.close, timeout=10)
        self._client = Client(cluster, set_as_default=False)
        self._seen = time.monotonic()
        return self._client

    def _options(self, i_worker: int) -> dict[str, Any]:
        environment = {}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[i_worker % len(self._gpus)]
        return {
            "host": "127.0.0.1",
            "nthreads": 1,
            "memory_limit": 0,  # declared memory is checked before a task starts
            "env": environment,
            **NO_DASHBOARD,
        }

    def check(self) -> None:
        """Raise TransientError if dead workers do not return, although Dask starts them."""
        waited = time.monotonic() - self._seen
        if waited < _LOOK_SECONDS or self._client is None:
            return
        if self._client.nthreads():
            self._seen = time.monotonic()
        elif waited > _START_SECONDS:
            raise TransientError(
                f"no worker process has started within {_START_SECONDS} s; look at this machine's memory, "
                "then resume, with --workers 1 or --executor threads if need be"
            )

    def close(self) -> None:
        """End the processes."""
        self._open.close()


def _gpus(asked: str) -> list[str]:
    """GPUs to use, in the format of CUDA_VISIBLE_DEVICES: all for "cuda", the one for "cuda:N"."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    _, _, number = asked.partition(":")
    if number and int(number) >= len(names):
        raise UserInputError(f"there is no {asked}: this machine has {len(names)} GPUs, counted from 0")
    return [names[int(number)]] if number else names


class DaskWorkers:
    """A Dask cluster that the user has started, by the address of its scheduler."""

    is_ours = False
    retries_itself = True
    shared_memory_bytes = None

    def __init__(self, address: str, device: str = "auto", *, share_gpus: bool = False) -> None:
        self._address, self._device, self._share_gpus = address, device, share_gpus
        self._counted = (0.0, 0)

    @functools.cached_property
    def _client(self) -> Client:
        try:
            client = Client(self._address, timeout=_ANSWER_SECONDS, set_as_default=False)
            client.wait_for_workers(1, timeout=_ANSWER_SECONDS)
        except ValueError as error:
            raise UserInputError(
                f"{self._address!r} is not the address of a Dask scheduler: {error}"
            ) from error
        except (OSError, TimeoutError) as error:
            raise UserInputError(
                f"no Dask scheduler with workers answers at {self._address}; start one with `dask scheduler` "
                "and workers with `dask worker ADDRESS --nthreads 1`"
            ) from error
        try:
            self._workers = _examine(client, self._share_gpus)
        except UserInputError:
            client.close()
            raise
        return client

    @property
    def n_workers(self) -> int:
        """Workers there are now: they may come and go."""
        client, (when, known) = self._client, self._counted
        if time.monotonic() - when > 2:
            known = len(client.nthreads())
            self._counted = (time.monotonic(), known)
        return max(1, known)

    @functools.cached_property
    def resources(self) -> Resources:
        """The share of the smallest of the workers."""
        client = self._client
        n_threads = min(worker["n_threads"] for worker in self._workers)
        memory = min(worker["memory_bytes"] for worker in self._workers)
        del client
        return Resources(self._device, n_threads, memory)

    def connect(self) -> Client:
        """Connect to the scheduler and check its workers; raises UserInputError if they cannot be used."""
        return self._client

    def check(self) -> None:
        """Raise TransientError if the scheduler is gone."""
        if self._client.status != "running":
            raise TransientError(
                f"the Dask scheduler at {self._address} went away; start it again and resume"
            )

    def close(self) -> None:
        """The workers are the user's: only the connection is closed."""
        client = self.__dict__.get("_client")
        if client is not None:
            client.close()


def _describe_worker() -> dict[str, Any]:
    """What a worker process reports about itself."""
    import socket

    return {
        "version": __version__,
        "host": socket.gethostname(),
        "n_cores": n_cores(),
        "memory_bytes": memory_for_steps(),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", "all") if torch.cuda.is_available() else "",
    }


def _examine(client: Client, share_gpus: bool) -> list[dict[str, Any]]:
    """Resources of every worker; raises UserInputError if they conflict."""
    wide = [address for address, n in client.nthreads().items() if n != 1]
    if wide:
        raise UserInputError(
            f"the Dask worker {wide[0]} does several tasks at a time; start workers with --nthreads 1: "
            "a step uses several cores by itself"
        )
    try:
        workers = list(client.run(_describe_worker).values())
    except Exception as error:
        raise UserInputError(f"the Dask workers cannot run cryoloom: {error}; install it there") from error
    others = {worker["version"] for worker in workers} - {__version__}
    if others:
        raise UserInputError(
            f"the Dask workers have cryoloom {', '.join(others)}, this is {__version__}; "
            "install the same on both sides"
        )
    places = [(worker["host"], gpu) for worker in workers for gpu in worker["gpus"].split(",") if gpu]
    if len(set(places)) < len(places) and not share_gpus:
        raise UserInputError(
            "several Dask workers use the same GPU; start each with its own CUDA_VISIBLE_DEVICES, "
            "or allow it with --share-gpus"
        )
    for worker in workers:
        beside = sum(other["host"] == worker["host"] for other in workers)
        worker["n_threads"] = max(1, worker["n_cores"] // beside)
        worker["memory_bytes"] = max(1 << 30, worker["memory_bytes"] // beside)
    return workers
