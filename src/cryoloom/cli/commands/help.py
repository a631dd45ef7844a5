"""List the commands, or the options of one command. A command has the name of its function."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["help"]


def help(
    context: typer.Context,
    command: Annotated[list[str] | None, typer.Argument(help="A command, such as `process`.")] = None,
) -> None:
    """Show the commands, or the options of one: the same as `cryoloom COMMAND --help`."""
    root = context.find_root()
    root.command.main([*(command or ()), "--help"], prog_name=root.info_name, standalone_mode=False)
