"""Process a session while it is acquired."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cryoloom.cli.options import (
    DiskOptions,
    JsonOption,
    NewProjectOption,
    SeriesFileOption,
    SetOption,
    SourceOptions,
    WorkerOptions,
)
from cryoloom.cli.parameters import parse_settings
from cryoloom.engine.live.watch_options import WatchOptions

__all__ = ["watch"]

console = Console()


_DEFAULTS = WatchOptions()


def watch(
    raw: Annotated[Path, typer.Argument(help="Folder that the microscope writes movies and mdocs to.")],
    project: NewProjectOption,
    workers: WorkerOptions,
    source: SourceOptions,
    disk: DiskOptions,
    workflow: Annotated[
        str, typer.Option(help="A shipped workflow or a .yaml file that begins with import_movies.")
    ] = "tomogram",
    settings: SetOption = None,
    series_settings: SeriesFileOption = None,
    tilts: Annotated[
        int | None, typer.Option(min=1, help="Tilts of a series: with all of them it is closed at once.")
    ] = None,
    close_minutes: Annotated[
        float, typer.Option(min=0, help="Close a series when it has not changed for this time, in seconds.")
    ] = _DEFAULTS.close_minutes,
    missing_minutes: Annotated[
        float, typer.Option(min=0, help="The same for a series with movies missing that its mdoc names.")
    ] = _DEFAULTS.missing_minutes,
    idle_minutes: Annotated[
        float | None,
        typer.Option(min=0, help="End when nothing in RAW has changed for this time, in seconds."),
    ] = None,
    stop_file: Annotated[
        Path | None, typer.Option(help="End when this file exists and all series are done.")
    ] = None,
    settle_seconds: Annotated[
        float,
        typer.Option(min=0, help="A file is complete when it has not changed for this time, in seconds."),
    ] = _DEFAULTS.settle_seconds,
    look_seconds: Annotated[
        float, typer.Option(min=0.1, help="Interval between checks of RAW, in seconds.")
    ] = _DEFAULTS.look_seconds,
    json: JsonOption = False,
) -> None:
    """Process a session while it is acquired. Ctrl-C stops; run it again to continue."""
    from cryoloom.cli.conclusion import conclude, opened_or_made
    from cryoloom.cli.watch_board import JsonWatchListener, WatchBoard
    from cryoloom.engine.live.alerts import AlertWatch
    from cryoloom.engine.live.watch import watch as watch_session

    options = WatchOptions(
        tilts, close_minutes, missing_minutes, idle_minutes, stop_file, settle_seconds, look_seconds
    )
    signal.signal(signal.SIGTERM, _as_ctrl_c)  # what a service manager sends
    given = parse_settings(settings or (), series_settings)
    with (
        opened_or_made(project) as opened,
        AlertWatch(opened.folder),
        JsonWatchListener(console) if json else WatchBoard(console, tilts) as listener,
    ):
        disk.apply(opened)
        summary = watch_session(
            opened,
            raw,
            listener,
            options,
            workflow=workflow,
            parameters=given.everywhere,
            of_series=given.of_series,
            executor=workers.workplace(),
            **source.parameters(),
        )
    conclude(opened, summary, json, again="the same `cryoloom watch`")


def _as_ctrl_c(number: int, frame: object) -> None:
    raise KeyboardInterrupt
