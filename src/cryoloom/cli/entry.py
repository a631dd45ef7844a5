"""Where the command ``cryoloom`` begins."""

from __future__ import annotations

import os
import sys

from rich.console import Console

from cryoloom.cli.main import app
from cryoloom.errors import CryoloomError

__all__ = ["main"]


def main() -> None:
    """Run the command line; an error the user can fix is one sentence, anything else a traceback."""
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


if __name__ == "__main__":
    main()
