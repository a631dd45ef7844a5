"""What ``--dry-run`` shows: what is there already, and what would be done."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from json import dumps
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cryoloom.engine.coordinator.dry_run import PlannedNode
from cryoloom.engine.project import Project
from cryoloom.store.names import FILE_NAME

__all__ = ["project_for_dry_run", "show_dry_run"]


@contextmanager
def project_for_dry_run(folder: Path) -> Iterator[Project]:
    """The project, or one for the moment where there is none yet."""
    if (folder / FILE_NAME).exists():
        yield Project.open(folder)
        return
    with tempfile.TemporaryDirectory() as made:
        yield Project.create(Path(made) / "project")


def show_dry_run(planned: Sequence[PlannedNode], json: bool) -> None:
    """What would be done, step by step."""
    if json:
        for node in planned:
            print(dumps(asdict(node)))  # noqa: T201 - no line breaks, no colours
        return
    table = Table("step", "there already", "to do now", "to do after", "unfit")
    for node in planned:
        numbers = (node.n_there, node.n_now, node.n_later, node.n_unfit)
        table.add_row(node.node, *(str(number) if number else "" for number in numbers))
    Console().print(table)
