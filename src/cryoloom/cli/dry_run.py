"""Output of ``--dry-run``: existing results, and the work that would be done."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from json import dumps
from pathlib import Path

from rich.table import Table

from cryoloom.cli.amounts import duration_text, size_text
from cryoloom.cli.terminal import console, say
from cryoloom.engine.coordinator.dry_run import PlannedNode
from cryoloom.engine.project import Project
from cryoloom.store.names import FILE_NAME

__all__ = ["nearest_folder", "project_for_dry_run", "show_dry_run"]


@contextmanager
def project_for_dry_run(folder: Path) -> Iterator[Project]:
    """The project, or a temporary one if there is none yet."""
    if (folder / FILE_NAME).exists():
        yield Project.open(folder)
        return
    with tempfile.TemporaryDirectory() as made:
        yield Project.create(Path(made) / "project")


def show_dry_run(planned: Sequence[PlannedNode], json: bool, folder: Path, notes: Sequence[str] = ()) -> None:
    """Print the planned work by step with its cost; ``folder`` is on the disk of the project.

    notes : of the workflow, such as which outside programs do a step.
    """
    if json:
        for node in planned:
            print(dumps(asdict(node)))  # noqa: T201 - no line breaks, no colours
        return
    for note in notes:
        say(f"note: {note}")
    table = Table("step", "there", "now", "after", "unfit", "memory", "work", "disk")
    for node in planned:
        numbers = (node.n_there, node.n_now, node.n_later, node.n_unfit)
        n_ahead = node.n_now + node.n_later
        table.add_row(
            node.node,
            *(str(number) if number else "" for number in numbers),
            size_text(node.memory_bytes) if n_ahead and node.memory_bytes else "",
            _work(node) if n_ahead else "",
            "" if not n_ahead else "?" if node.disk_bytes is None else size_text(node.disk_bytes),
        )
    console.print(table)
    for node in planned:
        for name, why in node.unfit.items():
            say(f"unfit: {name}  {node.node}: {why}")
    if any((node.n_now or node.n_later) and node.seconds_are_usual for node in planned):
        say("~: usual time on two cores; known better once this project has run the step on one item")
    if any((node.n_now or node.n_later) and node.seconds is None for node in planned):
        say("?: known once this project has run the step on one item")
    say(f"free on the disk: {size_text(shutil.disk_usage(folder).free)}")


def _work(node: PlannedNode) -> str:
    if node.seconds is None:
        return "?"
    return f"{'~' if node.seconds_are_usual else ''}{duration_text(node.seconds)}"


def nearest_folder(path: Path) -> Path:
    """The folder, or the nearest existing one above it."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
