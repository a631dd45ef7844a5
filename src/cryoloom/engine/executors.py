"""Who does the work. The scheduler hands over tasks and takes back outcomes; it never knows where."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numba
import psutil
import torch

from cryoloom.engine.task import Outcome, Task, execute

__all__ = ["Executor", "LocalExecutor", "choose_device"]

ItemProgress = Callable[[Task, int, int], None]


class Executor(Protocol):
    """Something that runs tasks. Dask and Slurm executors have the same three members."""

    @property
    def n_slots(self) -> int:
        """Tasks worth handing over at the same time."""

    def submit(self, task: Task, progress: ItemProgress) -> Future[Outcome]:
        """Begin a task."""

    def close(self) -> None:
        """Release the workers."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What one worker may use."""

    device: str
    n_threads: int
    memory_bytes: int


class LocalExecutor:
    """Threads of this process: the steps' heavy work is in torch and numba, which let go of the GIL.

    One worker by default: a step uses every core by itself, and two would need twice the memory.
    """

    def __init__(self, device: str = "auto", n_workers: int = 1, memory_bytes: int | None = None) -> None:
        n_cores = len(os.sched_getaffinity(0))
        # A third is left to the system's file cache, which the steps' memory maps live in.
        memory = memory_bytes or int(psutil.virtual_memory().available * 2 / 3)
        self._resources = Resources(
            choose_device(device), max(1, n_cores // n_workers), max(1 << 30, memory // n_workers)
        )
        self._pool = ThreadPoolExecutor(n_workers, initializer=self._prepare_worker)
        self.n_slots = n_workers

    def _prepare_worker(self) -> None:
        torch.set_num_threads(self._resources.n_threads)
        numba.set_num_threads(min(self._resources.n_threads, numba.config.NUMBA_NUM_THREADS))

    def submit(self, task: Task, progress: ItemProgress) -> Future[Outcome]:
        """Begin a task on a free worker."""
        limits = self._resources
        return self._pool.submit(
            execute,
            task,
            limits.device,
            limits.n_threads,
            limits.memory_bytes,
            lambda done, total: progress(task, done, total),
        )

    def close(self) -> None:
        """Wait for what is running, start nothing more."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def choose_device(asked: str) -> str:
    """Torch device for "auto", "cpu", "cuda" or "cuda:N"; raises RuntimeError for a GPU that is not there."""
    if asked == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeError("no CUDA device is usable here; use --device cpu or auto")
    return "cuda:0" if asked == "cuda" else asked
