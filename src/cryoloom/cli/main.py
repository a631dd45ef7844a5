"""The command ``cryoloom``."""

from __future__ import annotations

import typer

from cryoloom.cli import history, live, look, session, work
from cryoloom.cli.entry import run_app

__all__ = ["app", "main"]

app = typer.Typer(
    name="cryoloom",
    help="Cryo-electron tomography from raw movies to tomograms, with every step kept track of.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
work.add_to(app)
live.add_to(app)
look.add_to(app)
history.add_to(app)
session.add_to(app)


def main() -> None:
    """Run the command line, all of it."""
    run_app(app)


if __name__ == "__main__":
    main()
