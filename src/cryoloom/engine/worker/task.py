"""One item through one step, on whatever machine: plain data in, plain data out, files in between."""

from __future__ import annotations

import errno
import functools
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numba
import torch
from threadpoolctl import threadpool_limits

from cryoloom.contract import find_step
from cryoloom.engine.worker.context import EngineContext
from cryoloom.engine.worker.gates import check_value
from cryoloom.engine.worker.partial_results import PartialResults
from cryoloom.errors import CryoloomError, TransientError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import LeftOut, TiltOverride, TiltSeries
from cryoloom.store.codec import decode, encode
from cryoloom.store.lock import coordinator_of
from cryoloom.store.records import FileRecord

__all__ = [
    "STOP_FILE",
    "Outcome",
    "Resources",
    "StepInterrupted",
    "Task",
    "bytes_needed",
    "describe_error",
    "execute",
    "load_value",
    "with_overrides",
]

STOP_FILE = "stop"
N_TORCH_THREADS = 4
"""Torch's sums depend on the number of threads in the last bits, so it is the same on every machine
(decision 9). Numba, FFTs and decoding give the same bits with any number."""
_LOOK_SECONDS = 0.1
"""How often a step that tells its progress looks whether it is still wanted."""


class StepInterrupted(Exception):  # noqa: N818 - it is no error
    """A step was broken off because nobody waits for it any more; nothing is recorded of it."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What one worker may use."""

    device: str
    n_threads: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Task:
    """Everything a worker needs to know. It reaches the project's folder and nothing else."""

    project: Path
    node: str
    step: str
    parameters: Mapping[str, Any]
    run_folder: str
    run_id: int
    item: str
    key: str
    value: Mapping[str, Any]
    """Encoded input."""
    input_item_id: int | None = None
    overrides: tuple[TiltOverride, ...] = ()
    """What users decided on the tilts of this series."""
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Encoded further inputs, by role."""
    other_item_ids: Mapping[str, int] = field(default_factory=dict)
    upstream_figures: Mapping[str, float] = field(default_factory=dict)
    upstream_not_measurable: Mapping[str, str] = field(default_factory=dict)
    grows: bool = False
    """The item is not whole yet: do what can be done ahead."""
    coordinator: str = ""
    """Whose task this is (`store.lock`); a worker that outlives its coordinator writes nothing any more."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task: an encoded value, the error, or the reason why the item was left out."""

    task: Task
    value: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    left_out: str = ""
    files: tuple[FileRecord, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    not_measurable: Mapping[str, str] = field(default_factory=dict)
    """Why a figure has no value, by its name."""
    records: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    started: datetime | None = None
    seconds: float = 0.0
    device: str = "cpu"
    host: str = ""


def execute(task: Task, resources: Resources, tell: Callable[[int, int], None]) -> Outcome:
    """Run the step; whatever goes wrong becomes the outcome's error and leaves no file."""
    _set_threads(resources.n_threads)
    step = find_step(task.step)
    wanted = _StillWanted(task)

    def told(done: int, total: int) -> None:
        wanted.look()
        tell(done, total)

    context = EngineContext(
        project=task.project,
        folder=task.project / task.run_folder / task.item,
        device=resources.device if step.gpu != "none" else "cpu",
        n_threads=resources.n_threads,
        memory_bytes=resources.memory_bytes,
        seed=int(task.key[:16], 16),
        tell=told,
        step=step,
        upstream_figures=task.upstream_figures,
        upstream_not_measurable=task.upstream_not_measurable,
        parts=PartialResults(task.project, step.name, step.version, task.item),
        grows=task.grows,
    )
    started, clock = datetime.now(UTC), time.perf_counter()
    value: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    left_out = ""
    files: tuple[FileRecord, ...] = ()
    try:
        context.clear_leftovers()
        item = with_overrides(load_value(task.value, task.project), task.overrides)
        others = {
            role: with_overrides(load_value(other, task.project), task.overrides)
            for role, other in task.others.items()
        }
        params = step.params.model_validate(task.parameters)
        if task.grows:
            made = step.run_ahead(item, params, context)
        else:
            made = step.run(item, params, context, **others)
        if isinstance(made, LeftOut):
            left_out = made.reason
        else:
            if not task.grows:
                check_value(made, step.gives, task.item)
            encoded = task.value if step.hands_on else encode(made, task.project)
            wanted.look(now=True)
            files = context.commit()
            value = encoded
    except Exception as failure:
        context.discard()
        error = describe_error(failure)
    return Outcome(
        task=task,
        value=value,
        error=error,
        left_out=left_out,
        files=files,
        figures=context.figures,
        not_measurable=context.reasons_not_measurable,
        records=context.records,
        warnings=tuple(context.warnings),
        started=started,
        seconds=time.perf_counter() - clock,
        device=context.device,
        host=socket.gethostname(),
    )


def _set_threads(n_threads: int) -> None:
    """Give torch, numba and BLAS their threads; they keep the number per thread, so for every task."""
    torch.set_num_threads(N_TORCH_THREADS)
    numba.set_num_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))
    _limit_blas()


@functools.cache
def _limit_blas() -> None:
    threadpool_limits(1, user_api="blas")


class _StillWanted:
    """Looks now and then whether the user said stop, or another coordinator has taken the project over."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._next_look = 0.0

    def look(self, *, now: bool = False) -> None:
        """Raise StepInterrupted where nobody waits for the task any more."""
        if not now and time.monotonic() < self._next_look:
            return
        task, self._next_look = self._task, time.monotonic() + _LOOK_SECONDS
        if (task.project / STOP_FILE).exists():
            raise StepInterrupted(f"{task.node} of {task.item} was stopped by the user")
        if task.coordinator and coordinator_of(task.project) != task.coordinator:
            raise StepInterrupted(f"{task.node} of {task.item}: another process took over {task.project}")


def bytes_needed(task: Task) -> int:
    """Memory that the step declares for this item; 0 where it cannot tell, which the step itself will say."""
    step = find_step(task.step)
    try:
        item = load_value(task.value, task.project)
        return int(step.bytes_needed(item, step.params.model_validate(task.parameters)))
    except Exception:
        return 0


def load_value(data: Mapping[str, Any], project: Path) -> Any:
    """Decode a stored value; pixels come as lazy handles."""
    return decode(data, project, MrcPixels)


def with_overrides(item: Any, overrides: tuple[TiltOverride, ...]) -> Any:
    """An item with what users decided on the tilts of a series."""
    return item.with_overrides(overrides) if overrides and isinstance(item, TiltSeries) else item


# errno values that mean the machine, not the data
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM, errno.ESTALE, errno.EMFILE}


def describe_error(failure: Exception) -> dict[str, Any]:
    """An exception as data: its kind, its sentence and facts, and the traceback where it is a bug."""
    if isinstance(failure, OSError) and not isinstance(failure, CryoloomError) and failure.errno in _MACHINE:
        failure = TransientError(
            f"{failure.filename or 'a file'} could not be written: {failure.strerror}; "
            "mend that and run `cryoloom resume`"
        )
    if isinstance(failure, MemoryError):
        failure = TransientError(f"memory ran out: {failure}; use fewer workers or a larger binning")
    if isinstance(failure, CryoloomError):
        facts = {name: str(value) for name, value in failure.facts.items()}
        return {"kind": type(failure).__name__, "message": failure.message, "facts": facts}
    return {
        "kind": type(failure).__name__,
        "message": f"{type(failure).__name__}: {failure}",
        "facts": {},
        "traceback": "".join(traceback.format_exception(failure)),
    }
