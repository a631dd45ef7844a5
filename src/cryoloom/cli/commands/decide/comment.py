"""Store a note with a run, a series or a tilt."""

from __future__ import annotations

from typing import Annotated

import typer

from cryoloom.cli.decided import curation_of, say_decided
from cryoloom.cli.options import ProjectOption
from cryoloom.engine.history.results import named_run
from cryoloom.store.reading import ProjectReader

__all__ = ["comment"]


def comment(
    project: ProjectOption,
    item: Annotated[str, typer.Argument(help="Number or name of a run, or name of a series.")],
    text: Annotated[str, typer.Argument(help="The note; an empty one removes the last one.")],
    tilt: Annotated[int | None, typer.Option(help="Acquisition index of a tilt of the series.")] = None,
) -> None:
    """Store a note with a run, a series or a tilt; it replaces the last one."""
    with ProjectReader(project) as reader:
        run = None if tilt is not None or item in reader.names() else named_run(reader.runs(), item)
    say_decided(
        project, curation_of(project).comment(item if run is None else f"run:{run.id}", text, tilt=tilt)
    )
