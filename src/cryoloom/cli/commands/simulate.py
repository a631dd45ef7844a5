"""Simulate raw movies."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cryoloom.cli.parameters import parse_settings
from cryoloom.errors import UserInputError

__all__ = ["simulate"]

console = Console()


def simulate(
    directory: Annotated[Path, typer.Argument(help="New folder for movies, gain, mdoc and truth.json.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PARAMETER=VALUE", help="Change a parameter; can be repeated."),
    ] = None,
    show_parameters: Annotated[bool, typer.Option(help="List the parameters, and stop.")] = False,
    live: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="Deliver the movies as a microscope does, one tilt every SECONDS."
        ),
    ] = None,
) -> None:
    """Simulate raw movies with a known truth."""
    from cryoloom.engine.graph.validation import validated
    from cryoloom.simulate.live import LivePlan, play_session
    from cryoloom.simulate.session import SimulationParams, simulate_session

    if show_parameters:
        for name, field in SimulationParams.model_fields.items():
            console.print(f"[bold]{name}[/] = {field.default!r}: {field.description}", highlight=False)
        return
    if directory.exists() and any(directory.iterdir()):
        raise UserInputError(f"{directory} is not empty; a simulation needs an empty folder")
    changes = parse_settings([f"simulation.{text}" for text in settings or ()]).everywhere.get(
        "simulation", {}
    )
    params = validated(SimulationParams, changes, "simulation")
    with _bar() as progress:
        if live is None:
            simulate_session(params, directory, progress)
        else:
            with tempfile.TemporaryDirectory() as made:
                simulate_session(params, Path(made), progress)
                console.print(f"one tilt every {live:g} s is written to {directory}")
                play_session(Path(made), directory, LivePlan(live))
    console.print(f"raw movies and truth.json are in {directory}")


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """A bar over all tilts, with the remaining time."""
    with Progress(
        TextColumn("tilts"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bars:
        bar = bars.add_task("tilts", total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)
