"""List files and figures of every item."""

from __future__ import annotations

import dataclasses
import json as json_module
from typing import Annotated

import typer

from cryoloom.cli.options import JsonOption, ProjectOption
from cryoloom.cli.terminal import console, say
from cryoloom.engine.history.results import results_of
from cryoloom.store.reading import ProjectReader
from cryoloom.views.numbers import NOT_MEASURABLE

__all__ = ["results"]


def results(
    project: ProjectOption,
    tilts: Annotated[
        bool, typer.Option("--tilts", help="A table of the tilts in the current result of every series.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="The table of tilts as CSV.")] = False,
    json: JsonOption = False,
) -> None:
    """List files and figures of every item; or every tilt: order, angle, dose, motion, defocus, residual."""
    with ProjectReader(project) as reader:
        if tilts or csv:
            from cryoloom.cli.tilts import show_tilts

            show_tilts(reader, "csv" if csv else "json" if json else "table")
            return
        found = results_of(reader, reader.folder)
    for result in found:
        if json:
            fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
            print(json_module.dumps(fields, default=str))  # noqa: T201 - no line breaks, no colours
            continue
        console.print(
            f"[bold]{result.item}[/]  run {result.run} {result.step}  {result.state}", highlight=False
        )
        for name, value in result.figures.items():
            say(f"    {name} = {value:.5g}")
        for name, why in result.not_measurable.items():
            say(f"    {name}: {NOT_MEASURABLE}: {why}")
        for role, path in result.files.items():
            say(f"    {role}: {path}")
        if result.error:
            say(f"    error: {result.error}")
        if result.reason:
            say(f"    left out: {result.reason}")
