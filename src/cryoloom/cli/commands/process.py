"""Process raw data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from cryoloom.cli.options import (
    DiskOptions,
    DryRunOption,
    JsonOption,
    NewProjectOption,
    SeriesFileOption,
    SetOption,
    SourceOptions,
    WorkerOptions,
)
from cryoloom.cli.parameters import parse_settings
from cryoloom.errors import UserInputError

__all__ = ["process"]

console = Console()


def process(
    raw: Annotated[Path, typer.Argument(help="Folder of movies and mdocs, or a tilt series stack.")],
    project: NewProjectOption,
    workers: WorkerOptions,
    source: SourceOptions,
    disk: DiskOptions,
    workflow: Annotated[
        str | None, typer.Option(help="A shipped workflow or a .yaml file; by default chosen for RAW.")
    ] = None,
    with_programs: Annotated[
        Literal["programs"] | None,
        typer.Option(
            "--with", help="programs: use outside programs where the workflow names them and they are found."
        ),
    ] = None,
    settings: SetOption = None,
    series_settings: SeriesFileOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Turn raw data into tomograms and a report. Run it again to continue, or with other parameters."""
    from cryoloom.cli.conclusion import conclude, listener_for, opened_or_made
    from cryoloom.cli.dry_run import nearest_folder, project_for_dry_run, show_dry_run

    if not raw.exists():
        raise UserInputError(f"there is no folder or file {raw}; correct the path")
    given = parse_settings(settings or (), series_settings)
    known = source.parameters()
    if dry_run:
        with project_for_dry_run(project) as opened:
            chosen = opened.workflow_for(raw, workflow, programs=with_programs is not None, **known)
            planned = opened.dry_run(chosen, parameters=given.everywhere, of_series=given.of_series)
            show_dry_run(planned, json, nearest_folder(project), chosen.notes)
        return
    with opened_or_made(project) as opened, listener_for(json) as listener:
        disk.apply(opened)
        summary = opened.process(
            raw,
            workflow=workflow,
            parameters=given.everywhere,
            of_series=given.of_series,
            executor=workers.workplace(),
            listener=listener,
            programs=with_programs is not None,
            **known,
        )
    conclude(opened, summary, json, of_series=given.of_series)
