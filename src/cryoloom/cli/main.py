"""The application behind the command ``cryoloom``."""

from __future__ import annotations

from typing import Annotated

import typer

from cryoloom.cli.group import CommandGroup, typer_app
from cryoloom.version import __version__

__all__ = ["app"]

app = typer_app(name="cryoloom", no_args_is_help=True, cls=CommandGroup, add_completion=True)


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"cryoloom {__version__}")  # noqa: T201 - for scripts
        raise typer.Exit


@app.callback()
def _cryoloom(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_tell_version, help="Print the version, and stop."),
    ] = False,
) -> None:
    """Cryo-electron tomography from raw movies to tomograms, with a record of every step."""
