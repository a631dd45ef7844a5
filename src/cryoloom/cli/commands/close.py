"""Close a series."""

from __future__ import annotations

from typing import Annotated

import typer

from cryoloom.cli.options import (
    ProjectOption,
)
from cryoloom.cli.terminal import say
from cryoloom.engine.live.closing import ask_to_close
from cryoloom.engine.live.watch_status import series_being_watched
from cryoloom.errors import UserInputError
from cryoloom.store.reading import ProjectReader

__all__ = ["close"]


def close(
    project: ProjectOption,
    series: Annotated[list[str] | None, typer.Argument(help="Names of tilt series.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every series that is open.")] = False,
) -> None:
    """Mark a series as complete, so that a running `watch` processes it at once."""
    with ProjectReader(project):  # raises if this is not a project
        pass
    names = list(series or ())
    if every:
        names += [one.name for one in series_being_watched(project) if one.state == "open"]
    if not names:
        raise UserInputError("no series was named to close; name one, or give --all where some are open")
    ask_to_close(project, names)
    say(f"asked to close {', '.join(names)}")
