"""Parts of a step's work on Dask workers, submitted by the worker that runs the step.

The step leaves its worker's queue while it waits (Dask: it secedes), so that even a single worker can do the
parts. Arrays that many parts share are sent to a worker once.
"""

from __future__ import annotations

import contextlib
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
from distributed import Client, KilledWorker, get_client, secede
from numpy.typing import NDArray

from cryoloom.engine.executors.executor import choose_device
from cryoloom.engine.worker.failures import describe_error
from cryoloom.engine.worker.parts import OpenPool, PartOutcome, PartTask, WorkerLostError, run_part
from cryoloom.engine.worker.resources import Resources
from cryoloom.errors import TransientError

__all__ = ["parts_of_this_worker"]

_LARGE_BYTES = 1 << 20
"""Arrays of at least this size are sent separately, once to a worker that does several parts with them."""
_RESULT_SECONDS = 3600
"""Chosen: a part that has not ended after an hour counts as lost."""
_PRIORITY = 10
"""A part has priority over other items: a worker waits for it, and holds memory meanwhile."""


def parts_of_this_worker(resources: Resources, prepare: Callable[[], None]) -> OpenPool:
    """Starts parts from within a task of this worker.

    resources : of the step. prepare : called first on the worker of every part.
    """
    has_seceded = False

    @contextlib.contextmanager
    def opened() -> Iterator[_DaskPool]:
        nonlocal has_seceded
        if not has_seceded:
            secede()
            has_seceded = True
        pool = _DaskPool(get_client(), resources.of_a_part, prepare)
        try:
            yield pool
        finally:
            pool.forget()

    return opened


class _DaskPool:
    """Parts are tasks of the same Dask scheduler."""

    def __init__(self, client: Client, resources: Resources, prepare: Callable[[], None]) -> None:
        self._client, self._resources, self._prepare = client, resources, prepare
        self._begun: dict[Future[PartOutcome], Any] = {}
        self._sent: dict[int, tuple[NDArray[Any], Any]] = {}
        """Large arrays by their identity, and their futures; kept so that an identity is not reused."""

    def submit(self, task: PartTask) -> Future[PartOutcome]:
        """Begin a part on a free worker."""
        large: list[Any] = []
        outcome: Future[PartOutcome] = Future()
        outcome.set_running_or_notify_cancel()
        dask_future = self._client.submit(
            _do_part,
            replace(task, part=self._without_large(task.part, large)),
            self._resources,
            self._prepare,
            *large,
            key=f"cryoloom-part-{uuid.uuid4().hex}",
            pure=False,
            priority=_PRIORITY,
        )
        self._begun[outcome] = dask_future
        dask_future.add_done_callback(lambda future: self._came_back(outcome, future))
        return outcome

    def _without_large(self, data: Any, large: list[Any]) -> Any:
        """A part in which large arrays are replaced by their place among ``large``."""
        if isinstance(data, np.ndarray) and data.nbytes >= _LARGE_BYTES:
            if id(data) not in self._sent:
                (future,) = self._client.scatter([data], hash=False)
                self._sent[id(data)] = data, future
            large.append(self._sent[id(data)][1])
            return _Large(len(large) - 1)
        if isinstance(data, dict):
            return {name: self._without_large(inner, large) for name, inner in data.items()}
        if isinstance(data, list):
            return [self._without_large(inner, large) for inner in data]
        return data

    def _came_back(self, outcome: Future[PartOutcome], future: Any) -> None:
        self._begun.pop(outcome, None)
        try:
            made = future.result(timeout=_RESULT_SECONDS)
        except KilledWorker as loss:
            outcome.set_exception(WorkerLostError(loss.last_worker.host))
        except BaseException as error:
            if not isinstance(error, Exception) or future.status == "cancelled":
                error = TransientError("the Dask scheduler went away while parts were done; resume")
            outcome.set_exception(error)
        else:
            outcome.set_result(made)

    def cancel(self, futures: Sequence[Future[PartOutcome]]) -> None:
        """Cancel parts that have not started; the others end by themselves."""
        unwanted = [self._begun.pop(future) for future in futures if future in self._begun]
        with contextlib.suppress(Exception):
            self._client.cancel(unwanted)

    def forget(self) -> None:
        """Release the arrays that were sent."""
        self._sent.clear()
        self._begun.clear()


class _Large:
    """Place of an array that was sent apart."""

    def __init__(self, index: int) -> None:
        self.index = index


def _with_large(data: Any, large: Sequence[NDArray[Any]]) -> Any:
    if isinstance(data, _Large):
        return large[data.index]
    if isinstance(data, dict):
        return {name: _with_large(inner, large) for name, inner in data.items()}
    if isinstance(data, list):
        return [_with_large(inner, large) for inner in data]
    return data


def _do_part(
    task: PartTask, resources: Resources, prepare: Callable[[], None], *large: NDArray[Any]
) -> PartOutcome:
    """Do a part, on a worker."""
    prepare()
    if not task.project.is_dir():
        lost = TransientError(f"{socket.gethostname()} does not see {task.project}, as all workers must")
        return PartOutcome(arrays={}, error=describe_error(lost))
    resources = replace(resources, device=choose_device(resources.device))
    return run_part(replace(task, part=_with_large(task.part, large)), resources)
