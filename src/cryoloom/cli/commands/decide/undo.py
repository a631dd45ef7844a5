"""Undo a decision."""

from __future__ import annotations

from typing import Annotated

import typer

from cryoloom.cli.decided import curation_of, say_decided
from cryoloom.cli.options import ProjectOption

__all__ = ["undo"]


def undo(
    project: ProjectOption,
    number: Annotated[
        int | None, typer.Argument(help="Number of a decision (`cryoloom decisions`). Unset: your last one.")
    ] = None,
) -> None:
    """Undo a decision: an exclusion, a comment, parameters of a series. An undo can be undone."""
    say_decided(project, curation_of(project).undo(number), undone=True)
