"""Check this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cryoloom.cli.amounts import disk_sentence

__all__ = ["doctor"]

console = Console()


def doctor(
    project: Annotated[
        Path | None,
        typer.Option("--project", "-p", help="Also: the disk of this project, and how many more series fit."),
    ] = None,
) -> None:
    """Check this machine: devices, memory, outside programs and file system."""
    from cryoloom.engine.doctor import examine

    table = Table("what", "found", "fit", show_header=True)
    for finding in examine():
        mark = "[green]yes[/]" if finding.fit else "[yellow]no[/]"
        table.add_row(finding.what, finding.found, mark)
    console.print(table)
    if project is not None:
        console.print(disk_sentence(project), soft_wrap=True)
