"""Update every series to its current result."""

from __future__ import annotations

from typing import Annotated

import typer

from cryoloom.cli.options import DiskOptions, DryRunOption, JsonOption, ProjectOption, WorkerOptions

__all__ = ["resume"]


def resume(
    project: ProjectOption,
    workers: WorkerOptions,
    disk: DiskOptions,
    remake: Annotated[
        list[str] | None,
        typer.Option("--remake", metavar="STEP", help="Make files again that `clean` removed of this step."),
    ] = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Update every series to its current result: unfinished, failed and outdated work is done."""
    from cryoloom.cli.conclusion import conclude, listener_for
    from cryoloom.cli.dry_run import show_dry_run
    from cryoloom.engine.project import Project

    opened = Project.open(project)
    if dry_run:
        show_dry_run(opened.dry_run(), json, opened.folder)
        return
    disk.apply(opened)
    with listener_for(json) as listener:
        summary = opened.resume(executor=workers.workplace(), listener=listener, remake=remake or ())
    conclude(opened, summary, json)
