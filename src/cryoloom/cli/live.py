"""Commands for a session that is being acquired: watch, close."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cryoloom.cli.options import parse_settings
from cryoloom.cli.watch_board import JsonWatchListener, WatchBoard
from cryoloom.cli.work import (
    ClusterOption,
    DeviceOption,
    ExecutorOption,
    JsonOption,
    ProjectOption,
    SetOption,
    ShareOption,
    WorkersOption,
    conclude,
)
from cryoloom.engine.executors.workplace import Workplace
from cryoloom.engine.live.watch import WatchOptions, ask_to_close
from cryoloom.engine.live.watch import watch as watch_session
from cryoloom.engine.live.watch_status import series_being_watched
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError

__all__ = ["add_to"]

console = Console()
_DEFAULTS = WatchOptions()


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (watch, close):
        app.command()(command)


def watch(
    raw: Annotated[Path, typer.Argument(help="Folder that the microscope's movies and mdocs come to.")],
    project: ProjectOption,
    workflow: Annotated[
        str, typer.Option(help="A shipped workflow or a .yaml file that begins with import_movies.")
    ] = "tomogram",
    settings: SetOption = None,
    gain: Annotated[Path | None, typer.Option(help="Gain reference of the movies.")] = None,
    pixel_size: Annotated[float | None, typer.Option(help="Angstrom; overrides the mdoc.")] = None,
    dose: Annotated[float | None, typer.Option(help="e/A^2 per tilt; overrides the mdoc.")] = None,
    tilt_axis: Annotated[float | None, typer.Option(help="Degrees; overrides the mdoc.")] = None,
    tilts: Annotated[
        int | None, typer.Option(min=1, help="Tilts of a series: with all there it is closed at once.")
    ] = None,
    close_minutes: Annotated[
        float, typer.Option(min=0, help="Close a series when nothing of it changed for so long.")
    ] = _DEFAULTS.close_minutes,
    missing_minutes: Annotated[
        float, typer.Option(min=0, help="The same where movies that the mdoc tells of are missing.")
    ] = _DEFAULTS.missing_minutes,
    idle_minutes: Annotated[
        float | None, typer.Option(min=0, help="End when nothing in RAW changed for so long.")
    ] = None,
    stop_file: Annotated[
        Path | None, typer.Option(help="End when this file is there and all series are made.")
    ] = None,
    settle_seconds: Annotated[
        float, typer.Option(min=0, help="A file is whole when it did not change for so long.")
    ] = _DEFAULTS.settle_seconds,
    look_seconds: Annotated[
        float, typer.Option(min=0.1, help="Time between looks at RAW.")
    ] = _DEFAULTS.look_seconds,
    device: DeviceOption = "auto",
    executor: ExecutorOption = "local",
    workers: WorkersOption = None,
    cluster: ClusterOption = None,
    share_gpus: ShareOption = False,
    json: JsonOption = False,
) -> None:
    """Process a session while it is acquired. Ctrl-C stops; run it again to go on."""
    if not raw.is_dir():
        raise UserInputError(f"there is no folder {raw} to watch")
    if close_minutes > missing_minutes:
        missing_minutes = close_minutes
    opened = Project.open(project, create=True)
    options = WatchOptions(
        tilts, close_minutes, missing_minutes, idle_minutes, stop_file, settle_seconds, look_seconds
    )
    signal.signal(signal.SIGTERM, _as_ctrl_c)  # what a service manager sends
    with JsonWatchListener(console) if json else WatchBoard(console, tilts) as listener:
        summary = watch_session(
            opened,
            raw,
            listener,
            options,
            workflow=workflow,
            parameters=parse_settings(settings or ()),
            executor=Workplace(executor, device, workers, cluster, share_gpus),
            gain=gain,
            pixel_size_angstrom=pixel_size,
            dose_per_tilt_per_angstrom2=dose,
            tilt_axis_deg=tilt_axis,
        )
    conclude(opened, summary, json, again="the same `cryoloom watch`")


def close(
    series: Annotated[list[str] | None, typer.Argument(help="Names of tilt series.")] = None,
    project: ProjectOption = Path(),
    every: Annotated[bool, typer.Option("--all", help="Every series that is open.")] = False,
) -> None:
    """Tell the process that watches that a series is complete as it is; it is worked on at once."""
    opened = Project.open(project)
    names = list(series or ())
    if every:
        names += [one.name for one in series_being_watched(opened.folder) if one.state == "open"]
    if not names:
        raise UserInputError("no series was named to close; name one, or give --all where some are open")
    ask_to_close(opened, names)
    console.print(f"asked to close {', '.join(names)}", highlight=False)


def _as_ctrl_c(number: int, frame: object) -> None:
    raise KeyboardInterrupt
