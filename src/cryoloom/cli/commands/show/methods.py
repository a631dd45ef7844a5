"""Write the methods section of a paper."""

from __future__ import annotations

from typing import Annotated

import typer

from cryoloom.cli.options import (
    ProjectOption,
)
from cryoloom.cli.terminal import say
from cryoloom.engine.history.methods import methods_text
from cryoloom.engine.history.results import named_run
from cryoloom.store.reading import ProjectReader

__all__ = ["methods"]


def methods(
    project: ProjectOption,
    run: Annotated[
        str | None, typer.Option(help="Only the steps up to this run, by number or name. Unset: all in use.")
    ] = None,
) -> None:
    """Write the methods section of a paper, with figures, citations and versions."""
    with ProjectReader(project) as reader:
        say(methods_text(reader, None if run is None else named_run(reader.runs(), run)))
