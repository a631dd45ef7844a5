"""The command ``cryoloom``."""

from __future__ import annotations

from typing import Annotated

import typer

from cryoloom import __version__
from cryoloom.cli import history, live, look, serving, session, work
from cryoloom.cli.entry import run_app

__all__ = ["app", "main"]

app = typer.Typer(
    name="cryoloom",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"cryoloom {__version__}")  # noqa: T201 - for scripts
        raise typer.Exit


@app.callback()
def _cryoloom(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_tell_version, help="Tell the version, and stop."),
    ] = False,
) -> None:
    """Cryo-electron tomography from raw movies to tomograms, with every step kept track of."""


work.add_to(app)
live.add_to(app)
look.add_to(app)
history.add_to(app)
session.add_to(app)
for command in serving.COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command line, all of it."""
    run_app(app)


if __name__ == "__main__":
    main()
