"""Let a gathering step begin before its input has come to an end."""

from __future__ import annotations

from typing import Annotated

import typer

from cryoloom.cli.options import ProjectOption
from cryoloom.cli.terminal import say
from cryoloom.engine.project import Project

__all__ = ["gather"]


def gather(
    step: Annotated[str, typer.Argument(help="Name of the step in the workflow, such as refine.")],
    project: ProjectOption,
) -> None:
    """Ask the process that works on a project to gather what is there by now."""
    Project.open(project).gather(step)
    say(f"asked; {step} begins with the items it has, and again when its input has come to an end")
