"""List the decisions of users."""

from __future__ import annotations

import dataclasses
import json as json_module
from typing import Annotated

import typer

from cryoloom.cli.decided import sentence_of
from cryoloom.cli.options import JsonOption, ProjectOption
from cryoloom.cli.terminal import say
from cryoloom.store.decisions import in_force
from cryoloom.store.reading import ProjectReader

__all__ = ["decisions"]


def decisions(
    project: ProjectOption,
    series: Annotated[str | None, typer.Option(help="Only those on this series.")] = None,
    all: Annotated[
        bool, typer.Option("--all", help="Include decisions that were undone or replaced.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """List the decisions of users: who, when, from where and why. `undo` undoes one by its number."""
    with ProjectReader(project) as reader:
        events = reader.decisions()
    shown = events if all else in_force(events)
    for event in shown:
        if series is not None and event.item != series:
            continue
        if json:
            print(json_module.dumps(dataclasses.asdict(event), default=str))  # noqa: T201 - for scripts
            continue
        mark = " (undone)" if event.is_undone else ""
        page = f", {event.page}" if event.page else ""
        say(
            f"{event.id:>4}  {event.when:%Y-%m-%d %H:%M} UTC  {event.who or 'unknown':<10} "
            f"{sentence_of(event)}{mark}  ({event.role}{page})"
        )
