"""Commands that only read the database. Nothing here waits for torch, `status` not even for the mapper."""

from __future__ import annotations

import dataclasses
import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from cryoloom.engine.history.results import history_of, results_of, runs_of_nodes, sentence
from cryoloom.engine.live.watch_status import series_being_watched
from cryoloom.store.overview import Overview, read_overview
from cryoloom.store.records import RunRecord

if TYPE_CHECKING:
    from cryoloom.store.database import Database

__all__ = ["COMMANDS", "results", "status"]

_MOST_ITEMS = 100
_MOST_FAILURES = 20

ProjectOption = Annotated[Path, typer.Option("--project", "-p", help="Folder of the project.")]

console = Console()


def status(
    project: ProjectOption,
    items: Annotated[
        bool, typer.Option("--items", help="A line for every item, however many there are.")
    ] = False,
) -> None:
    """How far every item is, and the first error of those that failed."""
    overview = _overview(project)
    being_acquired = [one for one in series_being_watched(project) if one.state == "open"]
    for one in being_acquired:
        note = f"; {one.note}" if one.note else ""
        console.print(f"{one.name} is open: {one.n_whole} of {one.n_told} movies{note}", highlight=False)
    runs, counts = runs_of_nodes(overview.runs, overview.nodes), overview.counts
    n_items = max((sum(counts.get(run.id, {}).values()) for run in runs), default=0)
    if not n_items and being_acquired:
        return
    if not n_items:
        console.print("nothing was run yet; start with `cryoloom process`")
        return
    if items or n_items <= _MOST_ITEMS:
        _tell_items(_open(project))
    else:
        _tell_steps(overview, runs)
    for run in overview.runs:
        if run.state in {"running", "stopped"}:
            console.print(f"run {run.id} ({run.node}) is {run.state}")


def _tell_items(database: Database) -> None:
    table = Table("item", "last step", "state", "figures")
    for name, made in history_of(database, with_values=False).items():
        run, item = made[-1]
        failure = next((entry for entry in made if entry[1].state == "failed"), None)
        if failure is not None:
            run, item = failure
        figures = [f"{k} {v:.4g}" for k, v in item.figures.items()]
        figures += [f"{k} not measurable" for k in item.not_measurable]
        shown = sentence(item.error) or item.reason or "  ".join(figures)
        table.add_row(name, run.node, item.state, shown)
    console.print(table)


def _tell_steps(overview: Overview, runs: tuple[RunRecord, ...]) -> None:
    """Numbers by step, and what failed first."""
    states = ("done", "failed", "left_out")
    table = Table("step", "run", *(state.replace("_", " ") for state in states))
    for run in runs:
        numbers = overview.counts.get(run.id, {})
        table.add_row(run.node, str(run.id), *(str(numbers.get(state, 0)) for state in states))
    console.print(table)
    node_of = {run.id: run.node for run in runs}
    failures = [failure for failure in overview.failures if failure.run_id in node_of]
    for item in failures[:_MOST_FAILURES]:
        console.print(f"[red]failed[/]  {item.name}  {node_of[item.run_id]}: ", end="")
        console.print(sentence(item.error), markup=False, highlight=False, soft_wrap=True)
    n_failed = sum(overview.counts.get(run.id, {}).get("failed", 0) for run in runs)
    if n_failed > _MOST_FAILURES:
        console.print(f"and {n_failed - _MOST_FAILURES} more that failed; --items lists every item")


def results(
    project: ProjectOption, json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False
) -> None:
    """Every item's files and figures."""
    folder = project.absolute()
    for result in results_of(_open(project), folder):
        if json:
            fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
            print(json_module.dumps(fields, default=str))  # noqa: T201 - no line breaks, no colours
            continue
        console.print(
            f"[bold]{result.item}[/]  run {result.run} {result.step}  {result.state}", highlight=False
        )
        for name, value in result.figures.items():
            console.print(f"    {name} = {value:.5g}", highlight=False)
        for name, why in result.not_measurable.items():
            console.print(f"    {name}: not measurable: {why}", markup=False, highlight=False)
        for role, path in result.files.items():
            console.print(f"    {role}: {path}", soft_wrap=True, highlight=False)
        if result.error:
            console.print(f"    error: {result.error}", markup=False, highlight=False)
        if result.reason:
            console.print(f"    left out: {result.reason}", markup=False, highlight=False)


def _overview(project: Path) -> Overview:
    overview = read_overview(project.absolute(), _MOST_FAILURES)
    if overview is None:
        _open(project).close()  # brings its tables up to date, or refuses
        return _overview(project)
    return overview


def _open(project: Path) -> Database:
    from cryoloom.store.database import Database

    return Database.open(project.absolute())


COMMANDS = (status, results)
