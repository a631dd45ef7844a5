"""Open a result in IMOD's windows, and import the changes made there."""

from __future__ import annotations

from typing import Annotated

import typer

from cryoloom.cli.options import ProjectOption
from cryoloom.cli.terminal import console

__all__ = ["imod"]


def imod(
    project: ProjectOption,
    item: Annotated[str, typer.Argument(help="A tilt series or tomogram, by its name.")],
    input: Annotated[str, typer.Option(help="Run whose result is opened: its number or name.")],
    keep: Annotated[
        bool, typer.Option("--only-look", help="Do not take anything back; the files stay.")
    ] = False,
) -> None:
    """Open a tilt series in etomo or a tomogram in 3dmod, and import the alignment or the points."""
    from cryoloom.cli.conclusion import opened_or_made
    from cryoloom.engine.imod_session import open_in_imod

    with opened_or_made(project, may_make=False) as opened:
        made = open_in_imod(opened, item, input, take_back=not keep)
    console.print(f"files: {made.folder}", highlight=False, soft_wrap=True)
    if made.run is None:
        console.print("nothing was changed, so nothing was taken back")
        return
    for failed in made.run.failed:
        message = (failed.error or {}).get("message", "it failed")
        console.print(f"[red]failed[/]  {failed.name}  {message}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)
    console.print(
        f"taken back by {made.step}: go on with `cryoloom run STEP --input {made.step} --project {project}`",
        highlight=False,
        soft_wrap=True,
    )
