"""Export series and tomograms for another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cryoloom.cli.options import ProjectOption
from cryoloom.cli.terminal import say

__all__ = ["export"]


def export(
    project: ProjectOption,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            help="Of series (and particles): relion5, cets; of series: imod, aretomo, warp; of particles: "
            "relion4, dynamo, stopgap, motl, emclarity, eman2, copick, scipion, csv, text.",
        ),
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder to make.")],
    series: Annotated[
        list[str] | None, typer.Option("--series", help="Only this series; can be repeated.")
    ] = None,
    outdated: Annotated[
        bool,
        typer.Option(
            "--outdated", help="Also export series with decisions that are not applied, as they are."
        ),
    ] = False,
    copy: Annotated[bool, typer.Option(help="Copy images instead of hard-linking them.")] = False,
) -> None:
    """Write the current results in the format of another program; exit code 1 if something is missing."""
    from cryoloom.engine.project import Project

    made = Project.open(project).export(  # checks the format
        format,  # type: ignore[arg-type]
        to,
        series=series or (),
        outdated=outdated,
        link=not copy,
    )
    for note in made.notes:
        say(note)
    say(f"{len(made.series)} series, {len(made.files)} files in {to}, checked")
    if made.missing:
        say(f"{len(made.missing)} missing or incomplete: {', '.join(made.missing)}")
        say(f"process them with `cryoloom resume --project {project}`, then export again")
        raise typer.Exit(1)
