"""Entry point of the command ``cryoloom``."""

from __future__ import annotations

import os
import sys

from rich.console import Console

from cryoloom.cli.main import app
from cryoloom.errors import CryoloomError

__all__ = ["main"]


def main() -> None:
    """Run the command line; an error that the user can fix is one sentence, any other a traceback."""
    try:
        app(prog_name="cryoloom")
    except CryoloomError as error:
        Console(stderr=True).print(
            f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        sys.exit(2)
    except BrokenPipeError:
        # The reader of the output (head, less) has exited: not a failure of ours, and nothing is
        # left to print.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
