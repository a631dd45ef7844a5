"""Delete runs."""

from __future__ import annotations

from typing import Annotated

import typer

from cryoloom.cli.options import ProjectOption, RunArgument
from cryoloom.cli.terminal import say
from cryoloom.store.lock import coordinator_lock

__all__ = ["delete"]


def delete(
    project: ProjectOption,
    run: RunArgument,
    with_dependents: Annotated[
        bool, typer.Option("--with-dependents", help="Also delete every run that depends on it.")
    ] = False,
) -> None:
    """Delete a run with its results and files; refused while other runs need it."""
    from cryoloom.engine.history.runs import delete_runs, find_run
    from cryoloom.store.database import Database

    database = Database.open(project)
    with coordinator_lock(project):
        deleted = delete_runs(database, project, find_run(database, run), with_dependents=with_dependents)
    for each in deleted:
        say(f"deleted run {each.id} ({each.node})")
