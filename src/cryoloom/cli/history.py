"""Commands on what was done: log, methods, compare, comment, delete."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cryoloom.cli.options import as_json
from cryoloom.engine.history.methods import methods_text
from cryoloom.engine.history.provenance import Origin
from cryoloom.engine.history.runs import Comparison
from cryoloom.engine.project import Project
from cryoloom.views.numbers import NOT_MEASURABLE

__all__ = ["add_to"]

ProjectOption = Annotated[Path, typer.Option("--project", "-p", help="Folder of the project.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For scripts.")]
RunArgument = Annotated[str, typer.Argument(help="Number or name of a run; a name means its latest run.")]

console = Console()


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (log, methods, compare, comment, delete):
        app.command()(command)


def log(
    project: ProjectOption,
    file: Annotated[
        Path | None, typer.Option(help="Tell how this file came about; a copy or an export too.")
    ] = None,
    methods: Annotated[bool, typer.Option(help="The same as `cryoloom methods`.")] = False,
    json: JsonOption = False,
) -> None:
    """What was done: all runs, or the way from the raw movies to one file."""
    opened = Project.open(project)
    if methods:
        _say(methods_text(opened.database))
        return
    if file is not None:
        for origin in opened.origin(file):
            if json:
                print(as_json(origin.as_data(opened.folder)))  # noqa: T201 - no line breaks, no colours
            else:
                _show_origin(origin, opened.folder)
        return
    for run in opened.database.runs():
        items = opened.database.items(run.id, with_values=False, with_parts=False)
        n_of = Counter(item.state for item in items)
        if json:
            facts = {
                "run": run.id,
                "name": run.node,
                "step": run.step,
                "state": run.state,
                "items": dict(n_of),
            }
            facts |= {"created": run.created, "comment": run.comment, "parameters": dict(run.parameters)}
            print(as_json(facts))  # noqa: T201 - no line breaks, no colours
            continue
        left_out = f", {n_of['left_out']} left out" if n_of["left_out"] else ""
        note = f"  # {run.comment}" if run.comment else ""
        _say(
            f"{run.created:%Y-%m-%d %H:%M:%S} UTC  run {run.id:>3} {run.node:<20} {run.state:<8} "
            f"{n_of['done']} done, {n_of['failed']} failed{left_out}  "
            f"{sum(item.seconds for item in items):.1f} s{note}"
        )


def _show_origin(origin: Origin, folder: Path) -> None:
    _say(f"{origin.path}: {origin.how}")
    if origin.raw:
        more = f" and {len(origin.raw) - 1} more" if len(origin.raw) > 1 else ""
        _say(f"raw data: {origin.raw[0]}{more}")
    for run, item in origin.steps:
        began = f"{item.started:%Y-%m-%d %H:%M:%S} UTC" if item.started else "time unknown"
        _say(
            f"run {run.id} {run.node} ({run.step} version {run.step_version}) of {item.name}: {began}, "
            f"{item.seconds:.1f} s on {item.host or 'this machine'} ({item.device}), "
            f"cryoloom {run.environment.get('cryoloom')}"
        )
        sources = {"input": run.input_run_id, **run.links}
        told = ", ".join(f"{role} run {source}" for role, source in sources.items() if source is not None)
        if told:
            _say(f"    {told}")
        _say(f"    {as_json(run.parameters)}")
        for made in item.files:
            _say(f"    {made.role}: {folder / made.path}")


def methods(
    project: ProjectOption,
    run: Annotated[
        str | None, typer.Option(help="Only what led to this run, by number or name; else all that counts.")
    ] = None,
) -> None:
    """Text for the methods section of a paper, with figures, citations and versions."""
    opened = Project.open(project)
    chosen = None if run is None else opened.find_run(run)
    _say(methods_text(opened.database, chosen))


def compare(
    project: ProjectOption, first: RunArgument, second: RunArgument, json: JsonOption = False
) -> None:
    """Two runs side by side: parameters that differ, and the figures of every item."""
    compared = Project.open(project).compare(first, second)
    if json:
        print(as_json(compared.as_data()))  # noqa: T201 - no line breaks, no colours
        return
    names = [f"run {run.id} {run.node}" for run in compared.runs]
    parameters = Table("differs", *names, title=None)
    for name, pair in compared.parameters.items():
        parameters.add_row(name, *(_shown(value) for value in pair))
    if compared.parameters:
        console.print(parameters)
    else:
        _say("the runs were made alike")
    console.print(_figures(compared, names))


def _figures(compared: Comparison, names: list[str]) -> Table:
    table = Table("item", "figure", *names, "difference")
    rows = [("median", figure, pair) for figure, pair in compared.medians.items()]
    for item, figures in compared.figures.items():
        states = compared.states[item]
        if states != ("done", "done"):
            table.add_row(item, "", *states, "")
        rows += [(item, figure, pair) for figure, pair in figures.items()]
    for item, figure, (old, new) in rows:
        difference = "" if old is None or new is None else f"{new - old:+.4g}"
        why = compared.not_measurable.get(item, {}).get(figure, ("", ""))
        shown = [
            NOT_MEASURABLE if reason else _shown(value) for value, reason in zip((old, new), why, strict=True)
        ]
        declared = compared.declared.get(figure)
        title = figure if declared is None else f"{declared.title} [dim]{declared.unit}[/]"
        table.add_row(item, title, *shown, difference)
    return table


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def comment(
    project: ProjectOption, run: RunArgument, text: Annotated[str, typer.Argument(help="The note.")]
) -> None:
    """Keep a note with a run; it takes the place of the last one."""
    Project.open(project).comment(run, text)


def delete(
    project: ProjectOption,
    run: RunArgument,
    with_dependents: Annotated[
        bool, typer.Option("--with-dependents", help="Also every run that needs it.")
    ] = False,
) -> None:
    """Delete a run with its results and files; refused while other runs need it."""
    for each in Project.open(project).delete_run(run, with_dependents=with_dependents):
        _say(f"deleted run {each.id} ({each.node})")


def _say(text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)
