"""The command ``cryoloom``."""

from __future__ import annotations

import os
import sys

import typer
from rich.console import Console

from cryoloom.cli import live, look, work
from cryoloom.errors import CryoloomError

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


def main() -> None:
    """Run the command line; an error the user can mend is one sentence, anything else a traceback."""
    try:
        app()
    except CryoloomError as error:
        Console(stderr=True).print(
            f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: not our failure, and nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
