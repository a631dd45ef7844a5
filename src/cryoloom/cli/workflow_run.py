"""`workflow run`, in its own file because it is the only command of its group that imports the engine."""

from __future__ import annotations

from typing import Annotated

import typer

from cryoloom.cli.options import (
    DryRunOption,
    JsonOption,
    NewProjectOption,
    SeriesFileOption,
    SetOption,
    WorkerOptions,
)
from cryoloom.cli.parameters import parse_settings

__all__ = ["workflow_run"]


def workflow_run(
    workflow: Annotated[str, typer.Argument(help="A shipped workflow or a .yaml file.")],
    project: NewProjectOption,
    workers: WorkerOptions,
    settings: SetOption = None,
    series_settings: SeriesFileOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Run a workflow that contains the path of its raw data (or --set it)."""
    from cryoloom.cli.conclusion import conclude, listener_for, opened_or_made
    from cryoloom.cli.dry_run import nearest_folder, project_for_dry_run, show_dry_run

    given = parse_settings(settings or (), series_settings)
    if dry_run:
        with project_for_dry_run(project) as opened:
            planned = opened.dry_run(workflow, parameters=given.everywhere, of_series=given.of_series)
            show_dry_run(planned, json, nearest_folder(project))
        return
    with opened_or_made(project) as opened, listener_for(json) as listener:
        summary = opened.run_workflow(
            workflow,
            parameters=given.everywhere,
            of_series=given.of_series,
            executor=workers.workplace(),
            listener=listener,
        )
    conclude(opened, summary, json, of_series=given.of_series)
