"""Update every series to its current result."""

from __future__ import annotations

from cryoloom.cli.conclusion import conclude, listener_for
from cryoloom.cli.dry_run import show_dry_run
from cryoloom.cli.options import DryRunOption, JsonOption, ProjectOption, WorkerOptions
from cryoloom.engine.project import Project

__all__ = ["resume"]


def resume(
    project: ProjectOption, workers: WorkerOptions, dry_run: DryRunOption = False, json: JsonOption = False
) -> None:
    """Update every series to its current result: unfinished, failed and outdated work is done."""
    opened = Project.open(project)
    if dry_run:
        show_dry_run(opened.dry_run(), json, opened.folder)
        return
    with listener_for(json) as listener:
        summary = opened.resume(executor=workers.workplace(), listener=listener)
    conclude(opened, summary, json)
