"""Text for a paper."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from cryoloom.cli.options import (
    ProjectOption,
)
from cryoloom.engine.history.methods import methods_text
from cryoloom.engine.project import Project

__all__ = ["methods"]

console = Console()


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


def _say(text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)
