"""Compare two runs."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from cryoloom.cli.options import JsonOption, OptionalRunArgument, ProjectOption
from cryoloom.cli.parameters import as_json
from cryoloom.cli.terminal import console, say
from cryoloom.engine.history.runs import Comparison, compare_runs, find_run
from cryoloom.engine.history.side_by_side import compared_programs
from cryoloom.errors import UserInputError
from cryoloom.store.reading import ProjectReader
from cryoloom.views.numbers import NOT_MEASURABLE

__all__ = ["compare"]


def compare(
    project: ProjectOption,
    first: OptionalRunArgument = None,
    second: OptionalRunArgument = None,
    json: JsonOption = False,
) -> None:
    """Compare two runs: parameters that differ, and the figures of every item.

    Without runs: every run of an outside program with the native run that it replaces.
    """
    with ProjectReader(project) as reader:
        if first is None:
            found = compared_programs(reader)
        elif second is None:
            raise UserInputError(f"only the run {first} was given; give two runs, or none for all programs")
        else:
            found = (compare_runs(reader, find_run(reader, first), find_run(reader, second)),)
    if json:
        data = [compared.as_data() for compared in found]
        print(as_json(data if first is None else data[0]))  # noqa: T201 - no line breaks, no colours
        return
    if not found:
        say("No step was run both natively and with an outside program; give two runs to compare.")
    for compared in found:
        _show(compared)


def _show(compared: Comparison) -> None:
    names = [f"run {run.id} {run.node}" for run in compared.runs]
    parameters = Table("differs", *names, title=None)
    own = _in_one_run_only(compared)
    for name, pair in compared.parameters.items():
        if not any(name in one for one in own):
            parameters.add_row(name, *(_shown(value) for value in pair))
    if any(own):
        parameters.add_row("parameters of this step only (listed by --json)", *(str(len(one)) for one in own))
    if compared.parameters:
        console.print(parameters)
    else:
        say("the runs were made alike")
    console.print(_figures(compared, names))


def _in_one_run_only(compared: Comparison) -> tuple[set[str], set[str]]:
    """Parameters of only one of two different steps; they are not differences between the runs."""
    first, second = compared.runs
    if first.step == second.step:
        return set(), set()
    mine, its = set(first.parameters), set(second.parameters)
    return mine - its, its - mine


def _figures(compared: Comparison, names: list[str]) -> Table:
    table = Table("item", "figure", *names, "difference")
    several = len(compared.figures) > 1  # of one item the median is its own figure
    rows = [("median", figure, pair) for figure, pair in compared.medians.items() if several]
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
    old, new = compared.seconds
    if old is not None and new is not None:
        over = "median" if several else next(iter(compared.figures))
        table.add_row(over, "Time [dim]s[/]", _shown(old), _shown(new), f"{new - old:+.4g}")
    return table


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
