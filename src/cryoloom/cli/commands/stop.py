"""Stop the process that works."""

from __future__ import annotations

from rich.console import Console

from cryoloom.cli.options import (
    ProjectOption,
)
from cryoloom.engine.project import Project

__all__ = ["stop"]

console = Console()


def stop(project: ProjectOption) -> None:
    """Ask the process that works on a project to stop; what is finished stays."""
    Project.open(project).stop()
    console.print(f"asked to stop; go on with `cryoloom resume --project {project}`", highlight=False)
