"""One item through one step, on any machine: plain data in, plain data out, files in between."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryoloom.contract import Step, find_step
from cryoloom.contract.step import MemoryEstimate, Outputs
from cryoloom.engine.worker.context import EngineContext
from cryoloom.engine.worker.failures import describe_error
from cryoloom.engine.worker.gates import check_value
from cryoloom.engine.worker.interruption import STOP_FILE, StepInterrupted, StillWanted
from cryoloom.engine.worker.item_log import LOG_NAME, ItemLog
from cryoloom.engine.worker.partial_results import PartialResults
from cryoloom.engine.worker.parts import OpenPool, serially
from cryoloom.engine.worker.resources import Resources, set_threads
from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.absent import open_if_present
from cryoloom.model import Item, LeftOut, TiltOverride
from cryoloom.store.codec import decode, encode, fingerprint
from cryoloom.store.records import FANNED_OUT, FileRecord

__all__ = [
    "STOP_FILE",
    "Encoded",
    "Outcome",
    "PartValue",
    "Resources",
    "StepInterrupted",
    "Task",
    "bytes_needed",
    "bytes_per_part",
    "bytes_stored",
    "describe_error",
    "execute",
    "load_taken",
    "load_value",
]

Encoded = Mapping[str, Any]
"""A value encoded by `store.codec.encode`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """All data that a worker needs. It uses the project's folder and nothing else."""

    project: Path
    node: str
    step: str
    parameters: Mapping[str, Any]
    run_folder: str
    run_id: int
    item: str
    key: str
    value: Encoded | tuple[Encoded, ...]
    """The input; of a gathering step all items, sorted by name."""
    input_item_id: int | None = None
    gathered: tuple[int, ...] = ()
    """Ids of the items that a gathering step takes."""
    overrides: Mapping[str, tuple[TiltOverride, ...]] = field(default_factory=dict)
    """Decisions of users on tilts, by name of the series."""
    others: Mapping[str, Encoded | tuple[Encoded, ...]] = field(default_factory=dict)
    """Further inputs by role."""
    other_item_ids: Mapping[str, int] = field(default_factory=dict)
    """Ids of the items of further inputs, by role; by ``role:name`` where a role has many."""
    absent: str = ""
    """Items that failed or were left out before a gathering step."""
    upstream_figures: Mapping[str, float] = field(default_factory=dict)
    upstream_not_measurable: Mapping[str, str] = field(default_factory=dict)
    grows: bool = False
    """The item is still growing: it is only processed ahead."""
    n_expected: int = 0
    """Tilts that a growing item will probably have; 0 where that is not known."""
    own_parameters: Mapping[str, Any] = field(default_factory=dict)
    """Parameters in which this item differs from its run."""
    made_from: Mapping[str, Any] | None = None
    """What the result depends on other than parameters (`ItemRecord.made_from`)."""
    coordinator: str = ""
    """The coordinator of this task (`store.lock`); a worker that outlives it writes nothing more."""


@dataclass(frozen=True, slots=True)
class PartValue:
    """A further output of a step, or an item of an output that is a tuple of items."""

    output: str
    """Its role; "" for the main output."""
    name: str
    value: Encoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of a task: an encoded value, the error, or the reason why the item was left out."""

    task: Task
    value: Encoded | None
    error: Mapping[str, Any] | None
    parts: tuple[PartValue, ...] = ()
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


def execute(
    task: Task, resources: Resources, tell: Callable[[int, int], None], open_pool: OpenPool | None = None
) -> Outcome:
    """Run the step; any error becomes part of the result and leaves no file.

    open_pool : pool for the parts of its work (`StepContext.map`); without it the step does them itself.
    """
    set_threads(resources.n_threads)
    step = find_step(task.step)
    wanted = StillWanted(task.project, task.coordinator, f"{task.node} of {task.item}")

    def report_progress(done: int, total: int) -> None:
        wanted.look()
        tell(done, total)

    folder = task.project / task.run_folder / task.item
    device = resources.device if step.gpu != "none" else "cpu"
    log = ItemLog(
        folder / LOG_NAME, f"{task.node} of {task.item}: {step.name} {step.version} on {socket.gethostname()}"
    )
    context = EngineContext(
        item_name=task.item,
        project=task.project,
        folder=folder,
        device=device,
        log=None if task.grows else log,
        n_threads=resources.n_threads,
        memory_bytes=resources.memory_bytes,
        seed=_seed(task),
        tell=report_progress,
        step=step,
        upstream_figures=task.upstream_figures,
        upstream_not_measurable=task.upstream_not_measurable,
        parts=PartialResults(task.project, step.name, step.version, task.item),
        grows=task.grows,
        n_expected=task.n_expected,
        look=wanted.look,
        coordinator=task.coordinator,
        open_pool=open_pool or serially(resources),
        parts_at_once=resources.parts_at_once,
    )
    started, clock = datetime.now(UTC), time.perf_counter()
    value: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    left_out = ""
    files: tuple[FileRecord, ...] = ()
    parts: tuple[PartValue, ...] = ()
    try:
        context.clear_leftovers()
        if task.absent:
            context.warn(task.absent)
        item = load_taken(task.value, task)
        others = {role: load_taken(other, task) for role, other in task.others.items()}
        params = step.params.model_validate(task.parameters)
        if task.grows:
            made = step.run_ahead(item, params, context)
        else:
            made = step.run(item, params, context, **others)
        if isinstance(made, LeftOut):
            left_out = made.reason
        else:
            encoded, further = _encoded(made, step, task)
            wanted.look(now=True)
            files = context.commit()
            value, parts = encoded, further
    except Exception as failure:
        context.discard()
        error = describe_error(failure)
    finally:
        context.close()
    seconds = time.perf_counter() - clock
    _log_end(log, task, error, left_out, seconds)
    return Outcome(
        task=task,
        value=value,
        error=error,
        parts=parts,
        left_out=left_out,
        files=files,
        figures=context.figures,
        not_measurable=context.reasons_not_measurable,
        records=context.records,
        warnings=tuple(context.warnings),
        started=started,
        seconds=seconds,
        device=context.device,
        host=socket.gethostname(),
    )


def _log_end(
    log: ItemLog, task: Task, error: Mapping[str, Any] | None, left_out: str, seconds: float
) -> None:
    """Write to the item's log how it ended; for an unwanted task only if the log is begun."""
    is_interrupted = error is not None and error["kind"] == StepInterrupted.__name__
    if task.grows or (is_interrupted and not log.is_begun):
        return
    if error is None:
        log.line(f"left out: {left_out}" if left_out else f"done in {seconds:.1f} s")
    else:
        facts = "".join(f", {name}={value}" for name, value in error["facts"].items())
        log.line(f"{'broken off' if is_interrupted else 'failed'}: {error['message']}{facts}")
        log.add("" if is_interrupted else error.get("traceback", ""))


def _encoded(made: object, step: Step, task: Task) -> tuple[Encoded, tuple[PartValue, ...]]:
    """A step's results, checked and as plain data: its own item, and further results."""
    handed_on = task.value if step.hands_on and not isinstance(task.value, tuple) else None
    if task.grows:
        return handed_on or encode(made, task.project), ()
    outputs = made if isinstance(made, Outputs) else Outputs(made, {})
    if set(outputs.others) != set(step.also_gives):
        raise TypeError(
            f"the step declares the outputs {sorted(step.also_gives)}, but gave {sorted(outputs.others)}"
        )
    parts: dict[tuple[str, str], PartValue] = {}

    def add(output: str, item: object, kind: type, name: str) -> None:
        check_value(item, kind, name)
        if (output, name) in parts:
            raise ValueError(f"the step gave two items called {name!r} as {output or 'its main output'}")
        parts[output, name] = PartValue(output, name, encode(item, task.project))

    for role, output in outputs.others.items():
        for item in output if isinstance(output, tuple) else (output,):
            add(role, item, step.also_gives[role], item.name if isinstance(output, tuple) else task.item)
    if isinstance(outputs.main, tuple) and step.gathers:
        if not outputs.main:
            raise DataUnfitError("nothing came of it: the step gave no items")
        for item in outputs.main:
            add("", item, step.gives, item.name)
        return {FANNED_OUT: [item.name for item in outputs.main]}, tuple(parts.values())
    check_value(outputs.main, step.gives, task.item)
    return handed_on or encode(outputs.main, task.project), tuple(parts.values())


def _seed(task: Task) -> int:
    """Seed of the random numbers: the same for the same step and item in any project.

    The key would not do: it contains where raw data are and when they were written, so a session that was
    copied would give slightly different tomograms.
    """
    return int(fingerprint(task.step, task.item)[:16], 16)


def bytes_needed(task: Task) -> int:
    """Memory that the step declares for this item; 0 if it fails, which the step itself will report."""
    return _estimate(find_step(task.step).bytes_needed, task)


def bytes_per_part(task: Task) -> int:
    """Memory that the step declares for one part of its work on this item; 0 where it has no parts."""
    return _estimate(find_step(task.step).bytes_per_part, task)


def bytes_stored(task: Task) -> int:
    """Size of the files for this item, as the step declares it; 0 if it does not."""
    return _estimate(find_step(task.step).bytes_stored, task)


def _estimate(estimate: MemoryEstimate | None, task: Task) -> int:
    if estimate is None:
        return 0
    try:
        item = load_taken(task.value, task)
        return int(estimate(item, find_step(task.step).params.model_validate(task.parameters)))
    except Exception:
        return 0


def load_value(data: Encoded, project: Path) -> Any:
    """Decode a stored value; pixels come as lazy handles, also where their files were removed."""
    return decode(data, project, open_if_present)


def load_taken(taken: Encoded | tuple[Encoded, ...], task: Task) -> Any:
    """One item, or a tuple of items, with what users decided on their tilts."""
    if isinstance(taken, tuple):
        return tuple(load_taken(one, task) for one in taken)
    item = load_value(taken, task.project)
    return item.with_decisions(task.overrides) if isinstance(item, Item) else item
