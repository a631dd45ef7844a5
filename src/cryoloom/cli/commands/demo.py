"""Process simulated movies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cryoloom.cli.options import (
    JsonOption,
)

__all__ = ["demo"]

console = Console()


def demo(
    directory: Annotated[Path, typer.Argument(help="Folder to create.")] = Path("demo"),
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    json: JsonOption = False,
) -> None:
    """Simulate raw movies of a specimen, process them, and print the paths of the tomogram and the report."""
    from cryoloom.cli.conclusion import conclude, listener_for
    from cryoloom.engine.demo import make_demo

    with listener_for(json) as listener:
        project, summary = make_demo(directory, listener=listener, device=device, say=_teller(json))
    conclude(project, summary, json)


def _teller(json: bool) -> Callable[[str], None]:
    return (lambda text: None) if json else (lambda text: console.print(text, highlight=False))
