"""Start a gathering step before its input is complete."""

from __future__ import annotations

from typing import Annotated

import typer

from cryoloom.cli.options import ProjectOption
from cryoloom.cli.terminal import say

__all__ = ["gather"]


def gather(
    step: Annotated[str, typer.Argument(help="Name of the step in the workflow, such as refine.")],
    project: ProjectOption,
) -> None:
    """Start a gathering step of a running process with the items that exist now."""
    from cryoloom.engine.project import Project

    Project.open(project).gather(step)
    say(f"requested; {step} starts with the items it has, and again when its input is complete")
