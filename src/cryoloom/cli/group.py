"""Commands that are imported only when used: help and completion read names and first sentences only."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from cryoloom.cli.options import expanded

__all__ = ["CommandGroup", "LazyGroup", "typer_app"]

_PANELS: Mapping[str, tuple[str, ...]] = {
    "Process": ("demo", "process", "watch", "close", "run", "resume", "gather", "stop", "workflow"),
    "Look": ("status", "results", "report", "axis", "alerts", "serve", "view"),
    "Decide": ("exclude", "include", "comment", "decisions", "undo", "imod"),
    "Keep track": ("log", "methods", "compare", "delete", "clean", "export"),
    "Learn": ("help", "steps", "simulate", "doctor"),
}


def typer_app(**how: Any) -> typer.Typer:
    """A Typer application with the settings of this package."""
    return typer.Typer(
        **{
            "add_completion": False,
            "pretty_exceptions_enable": False,
            "rich_markup_mode": "rich",
            **how,
        }
    )


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are used; `summaries` lists them."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self._is_listing = False
        for name, (summary, panel) in self.summaries().items():
            self.commands.setdefault(name, TyperCommand(name, help=summary, rich_help_panel=panel))
        self._made: dict[str, Any] = {}

    def summaries(self) -> Mapping[str, tuple[str, str | None]]:
        """First sentence and panel of every command, by name, in the order of the help."""
        raise NotImplementedError

    def make(self, name: str) -> Any:
        """The command."""
        raise NotImplementedError

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or in a listing a placeholder for it."""
        if cmd_name not in self.commands or self._is_listing:
            return self.commands.get(cmd_name)
        if cmd_name not in self._made:
            self._made[cmd_name] = self.make(cmd_name)
        return self._made[cmd_name]

    @contextmanager
    def _listing(self) -> Iterator[None]:
        self._is_listing = True
        try:
            yield
        finally:
            self._is_listing = False

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help without importing any command."""
        with self._listing():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete names without importing any command."""
        with self._listing():
            return super().shell_complete(ctx, incomplete)


class CommandGroup(LazyGroup):
    """The files of `cryoloom.cli.commands` and of its folders."""

    def summaries(self) -> Mapping[str, tuple[str, str | None]]:
        """Summaries of the files; a file that is in no panel comes last."""
        found = {name: file.read_text(encoding="utf-8") for name, (_, file) in _command_files().items()}
        panel_of = {name: panel for panel, names in _PANELS.items() for name in names}
        order = list(panel_of)
        names = sorted(found, key=lambda name: order.index(name) if name in order else len(order))
        return {name: (_summary(name, found[name]), panel_of.get(name)) for name in names}

    def make(self, name: str) -> Any:
        """The function, or the group of commands, with the name of its file."""
        package, _ = _command_files()[name]
        found = getattr(import_module(f"{package}.{name}"), name)
        if not isinstance(found, typer.Typer):
            app = typer_app()
            app.command(name)(expanded(found))
            found = app
        command = typer.main.get_command(found)
        command.name = name
        return command


def _command_packages() -> Iterator[str]:
    """`cryoloom.cli.commands` and the packages inside it."""
    root = "cryoloom.cli.commands"
    yield root
    for entry in files(root).iterdir():
        if entry.joinpath("__init__.py").is_file():
            yield f"{root}.{entry.name}"


@functools.cache
def _command_files() -> dict[str, tuple[str, Traversable]]:
    """Package and file of every command, by name."""
    return {
        entry.name[:-3]: (package, entry)
        for package in _command_packages()
        for entry in files(package).iterdir()
        if entry.name.endswith(".py") and not entry.name.startswith("_")
    }


def _summary(name: str, source: str) -> str:
    """First line of the docstring of the function with this name, or of the file."""
    tree = ast.parse(source)
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    text = ast.get_docstring(next(functions, tree)) or ""
    return text.split("\n\n", 1)[0]
