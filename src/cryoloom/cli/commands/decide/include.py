"""Keep tilts, or a whole series, that a step would exclude."""

from __future__ import annotations

from typing import Annotated

import typer

from cryoloom.cli.decided import curation_of, say_decided
from cryoloom.cli.options import ProjectOption, SeriesArgument, TiltsArgument
from cryoloom.cli.tilt_numbers import tilt_numbers

__all__ = ["include"]


def include(
    project: ProjectOption,
    series: SeriesArgument,
    tilts: TiltsArgument = None,
    reason: Annotated[str, typer.Option(help="Stored with the tilt.")] = "kept by hand",
) -> None:
    """Keep tilts, or a whole series, even if a step would exclude them; `resume` updates the results."""
    curation = curation_of(project)
    if tilts:
        say_decided(project, curation.include(series, tilt_numbers(tilts), reason))
    else:
        say_decided(project, curation.include_series(series, reason))
