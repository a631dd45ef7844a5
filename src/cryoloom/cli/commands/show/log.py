"""Show the history of a project."""

from __future__ import annotations

import json as json_module
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from cryoloom.cli.options import (
    JsonOption,
    ProjectOption,
)
from cryoloom.cli.terminal import say
from cryoloom.engine.history.item_logs import item_log, item_logs
from cryoloom.engine.history.provenance import Origin, origin_of_file
from cryoloom.engine.history.runs import find_run
from cryoloom.errors import UserInputError
from cryoloom.store.current import current_state
from cryoloom.store.lock import is_being_worked_on
from cryoloom.store.reading import ProjectReader
from cryoloom.store.records import RunRecord

__all__ = ["log"]


def log(
    project: ProjectOption,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[ITEM]", help="Show the logs of the work on one item: warnings, figures, programs."
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Show how this file was made; also for a copy or an export.")
    ] = None,
    item: Annotated[str | None, typer.Option(help="The same as ITEM.")] = None,
    run: Annotated[
        str | None,
        typer.Option(help="Show the log of ITEM in this run alone, by number or name. Else in all steps."),
    ] = None,
    graph: Annotated[bool, typer.Option("--graph", help="Show the runs as a tree of inputs.")] = False,
    methods: Annotated[bool, typer.Option(help="The same as `cryoloom methods`.")] = False,
    json: JsonOption = False,
) -> None:
    """Show the history: all runs, the work on one item, or the steps from the raw movies to one file."""
    if name is not None and item is not None and name != item:
        raise UserInputError(f"one item at a time: got {name} and --item {item}")
    item = item or name
    if run is not None and item is None:
        raise UserInputError("--run needs an item, such as `cryoloom log TS_01 --run align_frames`")
    with ProjectReader(project) as reader:
        if item is not None:
            _show_item(reader, item, run)
            return
        if methods:
            from cryoloom.engine.history.methods import methods_text

            say(methods_text(reader))
        elif file is not None:
            for origin in origin_of_file(reader, reader.folder, file):
                if json:
                    print(json_module.dumps(origin.as_data(reader.folder), default=str))  # noqa: T201 - no line breaks, no colours
                else:
                    _show_origin(origin, reader.folder)
        elif graph:
            _show_graph(reader)
        else:
            _show_runs(reader, json)


def _show_item(reader: ProjectReader, item: str, run: str | None) -> None:
    """Its log in one run, or in the latest run of every step, as they are: without colours."""
    if run is not None:
        path = item_log(reader, reader.folder, find_run(reader, run), item)
        print(path.read_text(errors="replace"), end="")  # noqa: T201
        return
    for one, path in item_logs(reader, reader.folder, item):
        print(f"run {one.id} {one.node}")  # noqa: T201
        print(path.read_text(errors="replace"))  # noqa: T201


def _show_runs(reader: ProjectReader, json: bool) -> None:
    """One line per run, oldest first. A run without a working process was stopped."""
    is_active = is_being_worked_on(reader.folder)
    for run in reader.runs():
        items = reader.items(run.id, with_values=False, with_parts=False)
        n_of = Counter(item.state for item in items)
        state = "stopped" if run.state == "running" and not is_active else run.state
        if json:
            facts = {
                "run": run.id,
                "name": run.node,
                "step": run.step,
                "state": state,
                "items": dict(n_of),
            }
            facts |= {"created": run.created, "comment": run.comment, "parameters": dict(run.parameters)}
            print(json_module.dumps(facts, default=str))  # noqa: T201 - no line breaks, no colours
            continue
        left_out = f", {n_of['left_out']} left out" if n_of["left_out"] else ""
        note = f"  # {run.comment}" if run.comment else ""
        say(
            f"{run.created:%Y-%m-%d %H:%M:%S} UTC  run {run.id:>3} {run.node:<20} {state:<8} "
            f"{n_of['done']} done, {n_of['failed']} failed{left_out}  "
            f"{sum(item.seconds for item in items):.1f} s{note}"
        )


def _show_graph(reader: ProjectReader) -> None:
    """Runs below those that fed them; ``*`` marks those with current results."""
    runs, counts = reader.runs(), reader.count_states()
    current = {run.id for run in current_state(reader).runs}
    fed: dict[int | None, list[RunRecord]] = {}
    for run in runs:
        fed.setdefault(run.input_run_id, []).append(run)

    def show(run: RunRecord, lead: str, is_last: bool, depth: int) -> None:
        branch = "" if not depth else lead + ("`-- " if is_last else "|-- ")
        states = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in counts.get(run.id, {}).items())
        also = "".join(f", {role} run {source}" for role, source in run.links.items())
        name = "" if run.node == run.step else f" ({run.step})"
        note = f"  # {run.comment}" if run.comment else ""
        mark = " *" if run.id in current else ""
        say(f"{branch}{run.id} {run.node}{name}{mark}  {states or 'nothing'}{also}{note}")
        below = fed.get(run.id, [])
        for i, follower in enumerate(below):
            inner = "" if not depth else lead + ("    " if is_last else "|   ")
            show(follower, inner, i == len(below) - 1, depth + 1)

    for source in fed.get(None, []):
        show(source, "", True, 0)


def _show_origin(origin: Origin, folder: Path) -> None:
    say(f"{origin.path}: {origin.how}")
    if origin.raw:
        more = f" and {len(origin.raw) - 1} more" if len(origin.raw) > 1 else ""
        say(f"raw data: {origin.raw[0]}{more}")
    for run, item in origin.steps:
        began = f"{item.started:%Y-%m-%d %H:%M:%S} UTC" if item.started else "time unknown"
        say(
            f"run {run.id} {run.node} ({run.step} version {run.step_version}) of {item.name}: {began}, "
            f"{item.seconds:.1f} s on {item.host or 'this machine'} ({item.device}), "
            f"cryoloom {run.environment.get('cryoloom')}"
        )
        sources = {"input": run.input_run_id, **run.links}
        inputs = ", ".join(f"{role} run {source}" for role, source in sources.items() if source is not None)
        if inputs:
            say(f"    {inputs}")
        say(f"    {json_module.dumps(dict(run.parameters), default=str)}")
        for made in item.files:
            say(f"    {made.role}: {folder / made.path}")
