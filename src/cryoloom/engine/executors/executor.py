"""Executors: the scheduler submits tasks and receives results, independent of where they run."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import psutil
import torch

from cryoloom.engine.worker.parts import PartOutcome, PartPool, PartTask, run_part
from cryoloom.engine.worker.resources import Resources
from cryoloom.engine.worker.task import Outcome, Task, execute

__all__ = ["Executor", "InProcessExecutor", "choose_device", "memory_for_steps", "n_cores"]

ItemProgress = Callable[[Task, int, int], None]


class Executor(Protocol):
    """Something that runs tasks: threads of this process, or Dask workers anywhere."""

    @property
    def n_slots(self) -> int:
        """Number of tasks that are useful to submit at the same time."""

    def has_room(self, task: Task) -> bool:
        """Whether this task fits in addition to those that run; if not, it waits until one has ended."""

    def check(self) -> None:
        """Called every turn of the loop: raises TransientError if tasks wait for workers that do not come."""

    def submit(self, task: Task, progress: ItemProgress) -> Future[Outcome]:
        """Start a task. The future never fails: errors are part of the result.

        Raises TransientError if there is no worker left.
        """

    def close(self) -> None:
        """Release the workers."""


class InProcessExecutor:
    """Threads of this process: the steps' heavy work is in torch and numba, which release the GIL.

    For small work, scripts and tests: nothing has to be started, but a crash ends the coordinator as well.
    """

    def __init__(self, device: str = "auto", n_workers: int = 1, memory_bytes: int | None = None) -> None:
        memory = memory_bytes or memory_for_steps()
        self._resources = Resources(
            choose_device(device), max(1, n_cores() // n_workers), max(1 << 30, memory // n_workers)
        )
        self._resources = replace(self._resources, parts_at_once=n_workers)
        self._pool = ThreadPoolExecutor(n_workers)
        self._parts = ThreadPoolExecutor(n_workers)
        self._places = threading.Semaphore(n_workers)
        """Threads that may work. A step that waits for parts of its work frees its thread for them."""
        self.n_slots = n_workers

    def has_room(self, task: Task) -> bool:
        """Whether a thread is free."""
        return True

    def check(self) -> None:
        """Threads are always there."""

    def submit(self, task: Task, progress: ItemProgress) -> Future[Outcome]:
        """Start a task on a free thread."""
        return self._pool.submit(self._work, task, progress)

    def _work(self, task: Task, progress: ItemProgress) -> Outcome:
        with self._places:
            return execute(
                task, self._resources, lambda done, total: progress(task, done, total), self._open_parts
            )

    @contextlib.contextmanager
    def _open_parts(self) -> Iterator[PartPool]:
        self._places.release()
        try:
            yield _ThreadParts(self._parts, self._places, self._resources)
        finally:
            self._places.acquire()

    def close(self) -> None:
        """Wait for running tasks and start no others."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._parts.shutdown(wait=True, cancel_futures=True)


@dataclass
class _ThreadParts:
    """Does parts on threads, each of which occupies a thread while it works."""

    pool: ThreadPoolExecutor
    places: threading.Semaphore
    resources: Resources

    def submit(self, task: PartTask) -> Future[PartOutcome]:
        """Start a part as soon as a worker is free."""
        return self.pool.submit(self._do, task)

    def _do(self, task: PartTask) -> PartOutcome:
        with self.places:
            return run_part(task, self.resources)

    def cancel(self, futures: Sequence[Future[PartOutcome]]) -> None:
        """Begin none of them any more."""
        for future in futures:
            future.cancel()


def n_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def memory_for_steps() -> int:
    """Memory of this machine that steps may use: a third is left to the system's file cache."""
    return int(psutil.virtual_memory().available * 2 / 3)


def choose_device(asked: str) -> str:
    """Torch device for "auto", "cpu", "cuda" or "cuda:N"; raises RuntimeError for a GPU that is not there."""
    if asked == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeError("no CUDA device is usable here; use --device cpu or auto")
    return "cuda:0" if asked == "cuda" else asked
