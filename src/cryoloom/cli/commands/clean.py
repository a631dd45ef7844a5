"""Remove files that can be made again."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cryoloom.cli.amounts import duration_text, size_text
from cryoloom.cli.options import DryRunOption, JsonOption, ProjectOption
from cryoloom.cli.terminal import console, say
from cryoloom.store.lock import coordinator_lock

if TYPE_CHECKING:
    from cryoloom.engine.coordinator.retention import Removable

__all__ = ["clean"]


def clean(
    project: ProjectOption,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep",
            metavar="[STEP=]LEVEL",
            help="results: tomograms, averages, tables; resumable: the sums of movies too; everything. "
            "May be given again for single steps.",
        ),
    ] = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Remove files of finished series that can be recomputed; records are kept."""
    from cryoloom.engine.coordinator.retention import clean as remove
    from cryoloom.engine.coordinator.retention import parse_keep, removable
    from cryoloom.store.database import Database

    level, by_node = parse_keep(keep or ["resumable"])
    database = Database.open(project)
    if dry_run:
        chosen = removable(database, project, level, by_node)
    else:
        with coordinator_lock(project):
            chosen = removable(database, project, level, by_node)
            remove(database, project, chosen)
    if json:
        for one in chosen:
            facts = {"run": one.run.id, "step": one.run.node, "item": one.item.name, "bytes": one.bytes}
            facts |= {"seconds": round(one.seconds, 1), "files": [str(path) for path in one.paths]}
            print(json_module.dumps({**facts, "removed": not dry_run}))  # noqa: T201 - for scripts
        return
    if not chosen:
        say(f"nothing to remove when {level} is kept, of series that are through")
        return
    _show(chosen)
    total = size_text(sum(one.bytes for one in chosen))
    say(f"{total} can be freed; leave out --dry-run to do it" if dry_run else f"{total} freed")


def _show(chosen: tuple[Removable, ...]) -> None:
    table = Table("run", "step", "series", "size", "time to make again")
    by_run: dict[int, list[Removable]] = {}
    for one in chosen:
        by_run.setdefault(one.run.id, []).append(one)
    for run_id, ones in by_run.items():
        size, seconds = sum(one.bytes for one in ones), sum(one.seconds for one in ones)
        table.add_row(str(run_id), ones[0].run.node, str(len(ones)), size_text(size), duration_text(seconds))
    console.print(table)
