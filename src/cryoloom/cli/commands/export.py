"""Hand over to another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cryoloom.cli.options import (
    ProjectOption,
)
from cryoloom.engine.project import Project

__all__ = ["export"]

console = Console()


def export(
    project: ProjectOption,
    format: Annotated[str, typer.Option("--format", help="relion5, imod, aretomo or warp.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to make.")],
    copy: Annotated[bool, typer.Option(help="Copy images instead of hard-linking them.")] = False,
) -> None:
    """Write series and tomograms as another program reads them; every file named in them is re-opened."""
    files = Project.open(project).export(format, to, link=not copy)  # type: ignore[arg-type]  # checked there
    console.print(f"{len(files)} files in {to}, checked")
