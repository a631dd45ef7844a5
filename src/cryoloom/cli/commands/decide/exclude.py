"""Exclude tilts, or a whole series."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cryoloom.cli.decided import curation_of, say_decided
from cryoloom.cli.options import ProjectOption, TiltsArgument
from cryoloom.cli.tilt_numbers import tilt_numbers
from cryoloom.errors import UserInputError

__all__ = ["exclude"]


def exclude(
    project: ProjectOption,
    series: Annotated[
        str | None, typer.Argument(help="Name of the tilt series; none with --views-file.")
    ] = None,
    tilts: TiltsArgument = None,
    reason: Annotated[str, typer.Option(help="Kept with the tilt and shown in the report.")] = "by hand",
    views_file: Annotated[
        Path | None,
        typer.Option(help="Text file with lines such as `TS_01 1,38-41`; view 1 is the lowest tilt."),
    ] = None,
) -> None:
    """Leave tilts, or a whole series, out, whatever a step finds; `resume` redoes what depends on them."""
    if (series is None) == (views_file is None):
        given = "neither" if series is None else "both"
        raise UserInputError(f"got {given} of a series and --views-file; expected one of them")
    curation = curation_of(project)
    if views_file is not None:
        from cryoloom.formats.imod.excluded_views import read_excluded_views

        say_decided(project, curation.exclude_views(read_excluded_views(views_file), reason))
    elif series is not None and tilts:
        say_decided(project, curation.exclude(series, tilt_numbers(tilts), reason))
    elif series is not None:
        say_decided(project, curation.exclude_series(series, reason))
