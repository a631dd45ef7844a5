"""Write the report."""

from __future__ import annotations

from rich.console import Console

from cryoloom.cli.options import (
    ProjectOption,
)

__all__ = ["report"]

console = Console()


def report(project: ProjectOption) -> None:
    """Write the report again from the stored results."""
    from cryoloom.engine.project import Project
    from cryoloom.engine.reporting import write_project_report

    console.print(f"report: {write_project_report(Project.open(project))}")
