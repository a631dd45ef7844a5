"""Steps."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from cryoloom.cli.parameters import allowed_values, default_text
from cryoloom.contract.discovery import find_step, program_steps, step_summaries

__all__ = ["steps"]

console = Console()


def steps(
    name: Annotated[str | None, typer.Argument(help="Show one step whole.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="The reference page of all steps.")] = False,
    programs: Annotated[
        bool, typer.Option("--programs", help="Steps that run outside programs, and these alone.")
    ] = False,
) -> None:
    """List the steps; with a name, show its description and all of its parameters."""
    if markdown:
        from cryoloom.cli.program_reference import programs_as_markdown
        from cryoloom.cli.reference import steps_as_markdown

        page = programs_as_markdown() if programs else steps_as_markdown()
        print(page)  # noqa: T201 - no line breaks, no colours
        return
    if name is None:
        for known, summary in step_summaries().items():
            if (known in program_steps()) == programs:
                console.print(f"[bold]{known:<20}[/] {summary}", highlight=False)
        return
    step = find_step(name)
    console.print(f"[bold]{step.name}[/]  per {step.per}\n\n{step.description}\n", highlight=False)
    for parameter, field in step.params.model_fields.items():
        console.print(f"  [bold]{parameter}[/] = {default_text(field)}", highlight=False)
        console.print(
            f"      {field.description} {allowed_values(field)}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    for citation in step.references():
        console.print(f"  {citation}", highlight=False)
