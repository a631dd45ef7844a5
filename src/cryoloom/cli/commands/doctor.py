"""Check this machine."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from cryoloom.engine.doctor import examine

__all__ = ["doctor"]

console = Console()


def doctor() -> None:
    """Check this machine: devices, memory, outside programs and file system."""
    table = Table("what", "found", "fit", show_header=True)
    for finding in examine():
        mark = "[green]yes[/]" if finding.fit else "[yellow]no[/]"
        table.add_row(finding.what, finding.found, mark)
    console.print(table)
