"""Delete runs."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from cryoloom.cli.options import (
    ProjectOption,
    RunArgument,
)
from cryoloom.engine.project import Project

__all__ = ["delete"]

console = Console()


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
