"""Close a series."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cryoloom.cli.options import (
    ProjectOption,
)
from cryoloom.engine.live.watch import ask_to_close
from cryoloom.engine.live.watch_status import series_being_watched
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError

__all__ = ["close"]

console = Console()


def close(
    series: Annotated[list[str] | None, typer.Argument(help="Names of tilt series.")] = None,
    project: ProjectOption = Path(),
    every: Annotated[bool, typer.Option("--all", help="Every series that is open.")] = False,
) -> None:
    """Tell the process that watches that a series is complete as it is; it is worked on at once."""
    opened = Project.open(project)
    names = list(series or ())
    if every:
        names += [one.name for one in series_being_watched(opened.folder) if one.state == "open"]
    if not names:
        raise UserInputError("no series was named to close; name one, or give --all where some are open")
    ask_to_close(opened, names)
    console.print(f"asked to close {', '.join(names)}", highlight=False)
