"""Where the command ``cryoloom`` begins: what only reads the database does not wait for torch."""

from __future__ import annotations

import os
import sys

import typer
from rich.console import Console

from cryoloom.cli import glance, serving
from cryoloom.errors import CryoloomError

__all__ = ["main", "run_app"]


def main() -> None:
    """Run the command line."""
    quick = (*glance.COMMANDS, *serving.COMMANDS)
    if sys.argv[1:] and sys.argv[1] in {command.__name__ for command in quick}:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
        app.callback()(_cryoloom)
        for command in quick:
            app.command()(command)
    else:
        from cryoloom.cli.main import app
    run_app(app)


def _cryoloom() -> None:
    """Cryo-electron tomography from raw movies to tomograms, with every step kept track of."""


def run_app(app: typer.Typer) -> None:
    """Run it; an error the user can mend is one sentence, anything else a traceback."""
    try:
        app(prog_name="cryoloom")
    except CryoloomError as error:
        Console(stderr=True).print(
            f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: not our failure, and nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
