"""Show the state of every series."""

from __future__ import annotations

import json as json_module
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cryoloom.cli.amounts import disk_sentence
from cryoloom.cli.decided import sentence_of
from cryoloom.cli.imports import imported_lines
from cryoloom.cli.options import JsonOption, ProjectOption
from cryoloom.cli.terminal import console, say
from cryoloom.engine.history.evidence import evidence_by_series
from cryoloom.engine.live.watch_status import series_being_watched
from cryoloom.errors import UserInputError
from cryoloom.model.evidence import explain as lines_of
from cryoloom.store.current import CurrentState, SeriesState, State, current_state
from cryoloom.store.lock import is_being_worked_on
from cryoloom.store.reading import ProjectReader
from cryoloom.views.numbers import NOT_MEASURABLE

__all__ = ["status"]

_MOST_ITEMS = 100
"""Chosen: a longer list is shown by --items only."""
_MOST_TROUBLES = 20
"""Chosen: lines that fit a screen."""
_STATES: tuple[State, ...] = ("current", "outdated", "pending", "failed", "left_out")


def status(
    project: ProjectOption,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="series", help="Only these series. Unset: all.")
    ] = None,
    items: Annotated[bool, typer.Option("--items", help="One line for every item, without a limit.")] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="What each source reported for imported series, and which was used."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show the state of every series: current, outdated, pending or failed, with the first error."""
    if explain:
        _explain(project, names or (), json=json)
        return
    with ProjectReader(project) as reader:
        is_short = bool(items or names) or len(reader.names()) <= _MOST_ITEMS
        state = current_state(reader, with_details=is_short or json)
        if names:
            state = replace(state, series=_named(state.series, names))
        runs = reader.runs()
        imports = imported_lines(reader, state) if is_short and not json else []
    if json:
        for one in state.series.values():
            print(json_module.dumps(_facts(one)))  # noqa: T201 - for scripts
        return
    being_acquired = [one for one in series_being_watched(project) if one.state == "open"]
    for watched in being_acquired:
        note = f"; {watched.note}" if watched.note else ""
        say(f"{watched.name} is open: {watched.n_whole} of {watched.n_in_metadata} movies{note}")
    if not state.series:
        if not being_acquired:
            say(f"nothing was processed yet; start with `cryoloom process RAW --project {project}`")
        return
    for line in imports:
        say(line)
    if is_short:
        _show_items(state)
    else:
        _show_steps(state)
    _show_what_to_do(state, project)
    say(disk_sentence(project))
    is_active = is_being_worked_on(project)
    stopped = [run for run in runs if run.state == "stopped" or (run.state == "running" and not is_active)]
    if stopped:
        listed = ", ".join(f"{run.id} ({run.node})" for run in stopped)
        say(f"stopped before the end: run{'s' if len(stopped) > 1 else ''} {listed}")
    for run in runs:
        if run not in stopped and run.state == "running" and _n_open(state, run.node):
            say(f"run {run.id} ({run.node}) is running: {_n_open(state, run.node)} to do")


def _named(found: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Entries with these names. Raises UserInputError for a name that is not there."""
    unknown = [name for name in names if name not in found]
    if unknown:
        there = ", ".join(list(found)[:8]) or "none"
        raise UserInputError(f"no series is called {unknown[0]!r}; there are {there}")
    return {name: found[name] for name in names}


def _explain(project: Path, names: Sequence[str], *, json: bool) -> None:
    """Decisions of the import for series, and their reasons; of all series if none is named."""
    with ProjectReader(project) as reader:
        found = evidence_by_series(reader.items(with_values=False, with_records=True))
    wanted = _named(found, names) if names and "all" not in names else found
    for name, evidence in wanted.items():
        if json:
            facts = {"item": name, "evidence": [one.as_json() for one in evidence]}
            print(json_module.dumps(facts))  # noqa: T201 - for scripts
            continue
        say(name)
        for line in lines_of(evidence):
            say(f"  {line}")


def _n_open(state: CurrentState, node: str) -> int:
    """Number of items that a node has still to make."""
    return sum(
        standing.node == node and standing.state in {"pending", "outdated"}
        for one in state.series.values()
        for standing in one.standings
    )


def _facts(one: SeriesState) -> dict[str, object]:
    deciding, result = one.deciding, one.result
    return {
        "item": one.name,
        "state": one.state,
        "step": deciding.node,
        "why": deciding.why,
        "run": None if deciding.run is None else deciding.run.id,
        "result_run": None if result is None else result.run_id,
        "figures": {} if result is None else dict(result.figures),
        "not_measurable": {} if result is None else dict(result.not_measurable),
    }


def _show_items(state: CurrentState) -> None:
    table = Table("item", "step", "state", "figures")
    for one in state.series.values():
        deciding = one.deciding
        shown = deciding.why
        if not shown and deciding.item is not None:
            figures = [f"{name} {value:.4g}" for name, value in deciding.item.figures.items()]
            figures += [f"{name} {NOT_MEASURABLE}" for name in deciding.item.not_measurable]
            shown = "  ".join(figures)
        table.add_row(one.name, deciding.node, one.state.replace("_", " "), shown)
    console.print(table)


def _show_steps(state: CurrentState) -> None:
    """Numbers by step, and the first failures."""
    table = Table("step", "run", *(name.replace("_", " ") for name in _STATES))
    for node in state.nodes:
        n_of = Counter(
            standing.state
            for one in state.series.values()
            for standing in one.standings
            if standing.node == node.name
        )
        run = "" if node.run_id is None else str(node.run_id)
        table.add_row(node.name, run, *(str(n_of[name]) for name in _STATES))
    console.print(table)
    failed = state.of_state("failed")
    for one in failed[:_MOST_TROUBLES]:
        console.print(f"[red]failed[/]  {one.name}  {one.deciding.node}: ", end="")
        say(one.deciding.why)
    if len(failed) > _MOST_TROUBLES:
        say(f"and {len(failed) - _MOST_TROUBLES} more that failed; --items lists every item")


def _show_what_to_do(state: CurrentState, project: Path) -> None:
    """Decisions that are not applied yet, and the command that applies them."""
    outdated = state.of_state("outdated")
    waiting = {one.name for one in outdated if "decisions" in one.deciding.why}
    pending = [event for event in state.decisions if event.kind == "tilt" and event.item in waiting]
    for event in pending[:_MOST_TROUBLES]:
        say(f"not applied yet: {sentence_of(event)}")
    if len(pending) > _MOST_TROUBLES:
        n_more = len(pending) - _MOST_TROUBLES
        say(f"and {n_more} more decisions; `cryoloom decisions --project {project}` lists all")
    n_open = len(outdated) + len(state.of_state("pending"))
    if n_open:
        say(f"{n_open} to bring up to date: `cryoloom resume --project {project}`")
