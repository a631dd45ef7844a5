"""Sources of items: the results of a source step.

A source may be live: an iterator that yields None when there is nothing at present and ends when nothing more
will come. The scheduler asks it again every turn, works meanwhile, and ends when it is closed and all is
done. ``cryoloom watch`` uses this in one of two ways: a source step whose function yields None, or its own
`OpenSource` for `Project.run_workflow`. A series that grows is yielded again under its name; its newest state
replaces older ones (`work_queue`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryoloom.contract import find_step
from cryoloom.engine.graph.workflow import Node, validated_params
from cryoloom.engine.worker.context import EngineContext
from cryoloom.engine.worker.task import describe_error
from cryoloom.errors import DataUnfitError
from cryoloom.model import Item, TiltSeries
from cryoloom.store.codec import encode, fingerprint
from cryoloom.store.records import ItemRecord, RunRecord

__all__ = ["OpenSource", "files_in", "source_items", "source_record"]

OpenSource = Callable[[Node, RunRecord, Path], Iterator[ItemRecord | None]]
"""Begins the items of a source node for a run in a project folder. Its ``next`` must not block: None means
that there is nothing at present, its end that nothing more will come."""


def source_items(node: Node, run: RunRecord, project: Path) -> Iterator[ItemRecord | None]:
    """Items a source step finds, good and bad ones, ready to be recorded; None as often as the step says it.

    Raises the error of the step when the request itself is wrong (no such folder, nothing found).
    """
    step, params = find_step(node.step), validated_params(node)
    context = EngineContext(
        project, project / run.folder, device="cpu", n_threads=1, memory_bytes=1 << 30, seed=run.id, step=step
    )
    clock = time.perf_counter()
    for made in step.run(None, params, context):
        if made is None:
            yield None
            continue
        name = str(made.facts.get("series", "unnamed")) if isinstance(made, DataUnfitError) else made.name
        if node.items and name not in node.items:
            continue
        yield source_record(name, made, node, run, context, time.perf_counter() - clock)
        context.warnings.clear()
        for kept in (context.figures, context.reasons_not_measurable, context.records):
            kept.clear()
        clock = time.perf_counter()


def source_record(
    name: str,
    made: Item | DataUnfitError,
    node: Node,
    run: RunRecord,
    context: EngineContext,
    seconds: float,
) -> ItemRecord:
    """The source's result for a name, ready to be recorded with its warnings."""
    step = find_step(node.step)
    record = ItemRecord(
        run_id=run.id,
        name=name,
        key=fingerprint(node.step, step.version, name),
        state="failed",
        warnings=tuple(context.warnings),
        figures=dict(context.figures),
        not_measurable=dict(context.reasons_not_measurable),
        records=dict(context.records),
        started=datetime.now(UTC),
        seconds=seconds,
    )
    if isinstance(made, DataUnfitError):
        return replace(record, error=describe_error(made))
    value = encode(made, context.project)
    # Keys of existing projects depend on the order of a series' files, which is not that of its stored value.
    files = _raw_files(made) if isinstance(made, TiltSeries) else files_in(value, context.project)
    key = fingerprint(node.step, step.version, value, _described(files))
    return replace(record, state="done", value=value, key=key)


def _raw_files(series: TiltSeries) -> list[Path]:
    """Every raw file of a series, in an order that keys depend on."""
    paths = [tilt.movie.path for tilt in series.tilts if tilt.movie is not None]
    if series.gain is not None:
        paths += [path for path in (series.gain.path, series.gain.defects_path) if path is not None]
    stacks = [stack for stack in (series.stack, series.weighted) if stack is not None]
    stored = [pixels for stack in stacks for pixels in stack.present.values()]
    paths += [path for pixels in stored if isinstance(path := getattr(pixels, "path", None), Path)]
    return paths


def files_in(value: Any, project: Path) -> list[Path]:
    """Every file that an encoded value names."""
    if isinstance(value, Mapping):
        named = [project / value[mark] for mark in ("$path", "$pixels", "$table") if mark in value]
        return named + [path for inner in value.values() for path in files_in(inner, project)]
    if isinstance(value, list):
        return [path for inner in value for path in files_in(inner, project)]
    return []


def _described(paths: Iterable[Path]) -> list[Any]:
    """Length and time of files: when one is replaced, its results are outdated."""
    described: list[Any] = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            described.append([str(path), status.st_size, status.st_mtime_ns])
    return described
