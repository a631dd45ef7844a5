"""Open a result in IMOD's own windows, and import the user's changes as a run.

A tilt series is written as an IMOD data set and opened in etomo; its alignment comes back by
``import_alignment``. A tomogram is opened in 3dmod with a model; its points come back by ``pick_by_hand``.
The folder stays in the project (``by_hand/RUN/ITEM``), so the work can be gone on with later.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryoloom.contract.discovery import steps_taking
from cryoloom.engine.coordinator.scheduler import Summary
from cryoloom.engine.project import Project
from cryoloom.engine.worker.program_finder import require_program
from cryoloom.errors import UserInputError
from cryoloom.formats.exchange.placement import place_pixels
from cryoloom.formats.imod.export import write_imod
from cryoloom.model import TiltSeries, Tomogram
from cryoloom.programs.imod.imod_programs import ETOMO, THREEDMOD
from cryoloom.store.records import ItemRecord

__all__ = ["HandMade", "open_in_imod"]

_ANSWERS = (".xf", ".tlt", ".xtilt", "_local.xf", "local.xf", ".aln")


@dataclass(frozen=True, slots=True)
class HandMade:
    """Outcome of the session."""

    folder: Path
    """Folder of the files, which are kept."""
    run: Summary | None
    """The run that took the result back; None if nothing was changed."""
    step: str
    """The step that takes it back."""


def open_in_imod(
    project: Project,
    item: str,
    source: str | int,
    *,
    take_back: bool = True,
    start: Callable[[list[str], Path], int] | None = None,
) -> HandMade:
    """Open an item of a run in etomo or 3dmod, wait for the user to close it, and import what was made.

    start : runs a command in a folder and gives its exit code; by default in this terminal. Raises
    UserInputError where the run has no such item, where it is neither a series nor a tomogram, where IMOD is
    missing, or where it ended with an error.
    """
    run = project.find_run(source)
    value = project.value(_item_of(project, item, source))
    folder = project.folder / "by_hand" / f"{run.id}_{run.node}" / item
    match value:  # etomo and 3dmod open these two kinds
        case TiltSeries():
            step, values, made = _series(value, folder, start or _in_this_terminal)
        case Tomogram():
            step, values, made = _tomogram(value, folder, start or _in_this_terminal)
        case _:
            raise UserInputError(
                f"{item} of {run.node} is neither a tilt series nor a tomogram; name a run of one of these"
            )
    if not (made and take_back):
        return HandMade(folder, None, step)
    return HandMade(folder, project.run(step, input=run.id, items=(item,), **values), step)


def _item_of(project: Project, name: str, source: str | int) -> ItemRecord:
    items = project.database.items(project.find_run(source).id)
    for item in items:
        if item.name == name:
            return item
    raise UserInputError(
        f"run {source} has no item {name!r}; it has {', '.join(sorted(i.name for i in items)) or 'none'}"
    )


def _series(
    series: TiltSeries, folder: Path, start: Callable[[list[str], Path], int]
) -> tuple[str, dict[str, Any], bool]:
    """Open etomo on the series' files; those it had before stay as they were left."""
    if not (folder / f"{series.name}.mrc").is_file():
        write_imod([(series, None)], folder.parent, link=False)
    before = _state(folder, series.name)
    _run(ETOMO, ["--fg"], folder, start)
    values = {"folder": str(folder.parent), "program": "imod"}
    (step,) = steps_taking("alignment")
    return step, values, _state(folder, series.name) != before


def _tomogram(
    tomogram: Tomogram, folder: Path, start: Callable[[list[str], Path], int]
) -> tuple[str, dict[str, Any], bool]:
    """Open 3dmod on the volume, with a model to be drawn in."""
    volume, model = folder / f"{tomogram.name}.mrc", folder / f"{tomogram.name}.mod"
    if not volume.is_file():
        place_pixels(tomogram.volume, volume, tomogram.voxel_size_angstrom, link=True, kind="volume")
    before = model.stat().st_mtime_ns if model.is_file() else 0
    # -D keeps it in the foreground.
    _run(THREEDMOD, ["-D", volume.name, model.name], folder, start)
    made = model.is_file() and model.stat().st_mtime_ns != before
    (step,) = steps_taking("picks")
    return step, {"file": str(model)}, made


def _state(folder: Path, name: str) -> dict[str, bytes]:
    """Content of the files that an alignment is read from."""
    paths = [folder / f"{name}{suffix}" for suffix in _ANSWERS]
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def _run(program: Any, arguments: list[str], folder: Path, start: Callable[[list[str], Path], int]) -> None:
    found = require_program(program)
    code = start(found.command(arguments, folder), folder)
    if code != 0:
        raise UserInputError(
            f"{program.name} ended with code {code}; its files are in {folder}, nothing was taken back"
        )


def _in_this_terminal(command: list[str], folder: Path) -> int:
    return subprocess.run(command, cwd=folder, check=False).returncode
