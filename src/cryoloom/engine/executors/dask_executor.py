"""Tasks on Dask workers: processes of this machine, jobs of a cluster, or the user's own Dask cluster.

A worker does one task at a time. If it is killed, runs out of memory or reaches its wall time, its task is
tried again a few times. Workers write files only; results return to the one coordinator.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from distributed import Client, KilledWorker, get_worker

from cryoloom.engine.executors.dask_parts import parts_of_this_worker
from cryoloom.engine.executors.executor import ItemProgress, choose_device
from cryoloom.engine.executors.hand_over import HandedOver, hand_over
from cryoloom.engine.worker.task import (
    Outcome,
    Resources,
    StepInterrupted,
    Task,
    bytes_needed,
    bytes_per_part,
    describe_error,
    execute,
)
from cryoloom.errors import TransientError

__all__ = ["DASK_SETTINGS", "DaskExecutor", "Workforce", "silent_dask"]

N_TRIES = 3
"""Number of tries before the loss of its worker counts as the task's own failure."""
_TELL_SECONDS = 0.5
"""Chosen: between reports of progress; each is a message to the scheduler."""
_MOST_KNOWN = 1000
"""Chosen: tasks whose memory need is remembered."""
_GIB = 1 << 30

DASK_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # losses are counted here, where they can be reported
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.worker.memory.target": False,  # outcomes are small; memory belongs to the steps
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.admin.log-length": 1000,
    # Nobody looks at Dask's own measurements, which took a twentieth of a core.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.nanny.pre-spawn-environ": {"DASK_LOGGING__DISTRIBUTED": "critical", "OMP_NUM_THREADS": 1},
}
"""For workers and schedulers that cryoloom starts itself."""


class Workforce(Protocol):
    """Source of Dask workers: started by cryoloom on this machine, by Slurm, or by the user."""

    @property
    def n_workers(self) -> int:
        """Number of workers, now or soon."""

    @property
    def resources(self) -> Resources:
        """What each of them may use."""

    @property
    def shared_memory_bytes(self) -> int | None:
        """Memory that all tasks share if the workers are on one machine; None if each has its own."""

    @property
    def is_ours(self) -> bool:
        """Whether cryoloom started them, on this machine."""

    @property
    def retries_itself(self) -> bool:
        """Whether the Dask scheduler retries lost tasks itself."""

    def connect(self) -> Client:
        """Start the workers, or connect to them. Raises UserInputError or TransientError on failure."""

    def check(self) -> None:
        """Raise TransientError if there is no worker and none will come."""

    def close(self) -> None:
        """Release them."""


@dataclass
class _Attempt:
    """A submitted task, and the number of tries."""

    task: Task
    progress: ItemProgress
    outcome: Future[Outcome]
    bytes_granted: int
    n_tries: int = 0
    dask_future: Any = None
    handed_over: HandedOver | None = None
    lost_on: list[str] = field(default_factory=list)


class DaskExecutor:
    """Runs tasks on Dask workers, which are started with the first task."""

    def __init__(self, workforce: Workforce) -> None:
        self._workforce = workforce
        self._client: Client | None = None
        self._attempts: dict[str, _Attempt] = {}
        self._topic = f"cryoloom-{uuid.uuid4().hex}"
        self._closing = False
        self._memory: dict[str, tuple[int, int]] = {}
        """Memory that steps declare, by key of the task: needed at every turn while a task waits."""

    @property
    def n_slots(self) -> int:
        """One task for each worker."""
        return self._workforce.n_workers

    def has_room(self, task: Task) -> bool:
        """Whether the memory that steps declare fits into the machine together, or nothing is running."""
        shared = self._workforce.shared_memory_bytes
        if shared is None:
            return True
        running = [attempt.bytes_granted for attempt in list(self._attempts.values())]
        return not running or sum(running) + self._granted(task) <= shared

    def _granted(self, task: Task) -> int:
        """Memory reserved for a task: what its step declares, at most all there is.

        A step whose work is divided into parts reserves that of as many parts as there are workers.
        """
        shared = self._workforce.shared_memory_bytes
        if shared is None:
            return 0
        own, per_part = self._declared(task)
        return min(own + self._workforce.n_workers * per_part, shared)

    def _declared(self, task: Task) -> tuple[int, int]:
        """Memory that the step declares for this item, and for a part of its work."""
        known = self._memory.get(task.key)
        if known is None:
            if len(self._memory) > _MOST_KNOWN:
                self._memory.clear()
            known = self._memory[task.key] = bytes_needed(task), bytes_per_part(task)
        return known

    def _resources(self, attempt: _Attempt) -> Resources:
        """Resources of a task's worker, and the number of parts that may run at once."""
        own, per_part = self._declared(attempt.task)
        at_once = n_workers = self._workforce.n_workers
        if per_part and self._workforce.shared_memory_bytes is not None:
            at_once = max(1, min(n_workers, (attempt.bytes_granted - own) // per_part))
        resources = self._workforce.resources
        return replace(
            resources,
            memory_bytes=max(resources.memory_bytes, min(own, attempt.bytes_granted)),
            parts_at_once=at_once,
            part_memory_bytes=max(resources.memory_bytes, per_part),
        )

    def check(self) -> None:
        """Raise TransientError if tasks wait for workers that will never come."""
        if self._attempts:
            try:
                self._workforce.check()
            except TransientError as error:
                self._abandon(error)
                raise

    def submit(self, task: Task, progress: ItemProgress) -> Future[Outcome]:
        """Start a task on a free worker, or as soon as there is one."""
        if self._client is None:
            self._client = self._workforce.connect()
            self._client.subscribe_topic(self._topic, self._reported)
        if self._client.status not in ("running", "newly-created"):
            lost = TransientError("the connection to the Dask scheduler is lost; start it again and resume")
            self._abandon(lost)
            raise lost
        outcome: Future[Outcome] = Future()
        outcome.set_running_or_notify_cancel()
        self._begin(_Attempt(task, progress, outcome, self._granted(task)))
        return outcome

    def _abandon(self, reason: TransientError) -> None:
        """Ignore all further results: nothing is recorded of running work."""
        while self._attempts:
            _, attempt = self._attempts.popitem()
            attempt.outcome.set_result(self._failed(attempt, StepInterrupted(reason.message)))

    def _begin(self, attempt: _Attempt) -> None:
        if self._client is None:
            raise RuntimeError("a task is begun only when the workers are there")
        attempt.n_tries += 1
        key = f"cryoloom-{uuid.uuid4().hex}"
        self._attempts[key] = attempt
        if attempt.handed_over is None:
            attempt.handed_over = hand_over(attempt.task)
        attempt.dask_future = self._client.submit(
            _work,
            attempt.handed_over,
            self._resources(attempt),
            self._topic,
            key,
            self._workforce.is_ours,
            key=key,
            pure=False,
        )
        attempt.dask_future.add_done_callback(lambda future: self._came_back(key, future))

    def _reported(self, event: tuple[float, Any]) -> None:
        """A worker reports progress."""
        key, done, total = event[1]
        attempt = self._attempts.get(key)
        if attempt is not None:
            attempt.progress(attempt.task, done, total)

    def _came_back(self, key: str, future: Any) -> None:
        """Pass a result on; a task whose worker was lost is tried again."""
        attempt = self._attempts.pop(key, None)
        if attempt is None:
            return
        try:
            outcome = future.result(timeout=60)
        except KilledWorker as loss:
            attempt.lost_on.append(loss.last_worker.host)
            last_try = self._workforce.retries_itself or attempt.n_tries >= N_TRIES
            if not last_try and not self._closing:
                self._begin(attempt)
                return
            outcome = self._failed(attempt, self._lost(attempt))
        except BaseException as error:  # cancelled, scheduler gone, result that cannot be read
            if not isinstance(error, Exception) or future.status == "cancelled":
                error = TransientError(
                    "the connection to the Dask scheduler was lost during this task; `resume` repeats it"
                )
            outcome = self._failed(attempt, error)
        if attempt.handed_over is not None:
            attempt.handed_over.forget()
        attempt.outcome.set_result(replace(outcome, task=attempt.task))

    def _lost(self, attempt: _Attempt) -> TransientError:
        needed = bytes_needed(attempt.task) / _GIB
        given = max(self._workforce.resources.memory_bytes, attempt.bytes_granted) / _GIB
        n_times = "again and again" if self._workforce.retries_itself else f"{attempt.n_tries} times"
        return TransientError(
            f"the worker that did this was lost {n_times}: killed, out of memory or at the end of its wall "
            "time; give workers more memory or time, then run `cryoloom resume`",
            step_declares_gib=f"{needed:.1f}",
            worker_may_use_gib=f"{given:.1f}",
            hosts=", ".join(dict.fromkeys(attempt.lost_on)),
        )

    def _failed(self, attempt: _Attempt, error: Exception) -> Outcome:
        return Outcome(task=attempt.task, value=None, error=describe_error(error))

    def close(self) -> None:
        """Release the workers; work that is still running is cancelled."""
        self._closing = True
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close(timeout=5)
        self._workforce.close()


@contextlib.contextmanager
def silent_dask() -> Iterator[None]:
    """Silence Dask's own messages (connections, restarts, heartbeats); important events are reported."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _work(handed: HandedOver, resources: Resources, topic: str, key: str, is_ours: bool) -> Outcome:
    """Do a task, on a worker."""
    if is_ours:
        _stand_apart()
    task = handed.task
    if not task.project.is_dir():
        message = (
            f"{socket.gethostname()} does not see {task.project}; put the project and the raw data on a file "
            "system that all workers share, under the same path"
        )
        return Outcome(task=task, value=None, error=describe_error(TransientError(message)))
    resources = replace(resources, device=choose_device(resources.device))
    worker = get_worker()
    last_report = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal last_report
        if time.monotonic() - last_report >= _TELL_SECONDS:
            last_report = time.monotonic()
            worker.log_event(topic, [key, done, total])

    prepare = _stand_apart if is_ours else _nothing
    try:
        whole = handed.taken()
    except TransientError as error:
        return Outcome(task=task, value=None, error=describe_error(error))
    outcome = execute(whole, resources, tell, parts_of_this_worker(resources, prepare))
    return replace(outcome, task=task)


def _nothing() -> None:
    """The worker belongs to the user: it is left unchanged."""


def _stand_apart() -> None:
    """Leave Ctrl-C to the coordinator, and be killed first when memory runs out."""
    if os.getpgrp() != os.getpid():
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
