"""Commands that only look: workflow, steps, doctor (and those of `glance`)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cryoloom.cli import glance
from cryoloom.cli.options import allowed_values, as_json, default_text
from cryoloom.cli.reference import steps_as_markdown
from cryoloom.cli.work import workflow_run
from cryoloom.contract import all_steps, find_step
from cryoloom.engine.doctor import examine
from cryoloom.engine.graph.workflow import load_workflow, shipped_workflows, validated_params
from cryoloom.engine.project import Project
from cryoloom.scipion.workflow_import import import_scipion

__all__ = ["add_to"]

ProjectOption = Annotated[Path, typer.Option("--project", "-p", help="Folder of the project.")]

console = Console()


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (*glance.COMMANDS, steps, doctor):
        app.command()(command)
    workflow_commands = typer.Typer(no_args_is_help=True)
    workflow_commands.command("list")(workflow_list)
    workflow_commands.command("show")(workflow_show)
    workflow_commands.command("run")(workflow_run)
    workflow_commands.command("export")(workflow_export)
    workflow_commands.command("import")(workflow_import)
    app.add_typer(workflow_commands, name="workflow", help="Workflows: list, show, run, export, import.")


def steps(
    name: Annotated[str | None, typer.Argument(help="Show one step whole.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="The reference page of all steps.")] = False,
) -> None:
    """The steps there are; with a name, what one does and every parameter it has."""
    if markdown:
        print(steps_as_markdown())  # noqa: T201 - no line breaks, no colours
        return
    if name is None:
        for step in all_steps().values():
            console.print(f"[bold]{step.name:<20}[/] {step.summary}", highlight=False)
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


def doctor() -> None:
    """Devices, memory, outside programs and file system: what cryoloom finds on this machine."""
    table = Table("what", "found", "fit", show_header=True)
    for finding in examine():
        mark = "[green]yes[/]" if finding.fit else "[yellow]no[/]"
        table.add_row(finding.what, finding.found, mark)
    console.print(table)


def workflow_list() -> None:
    """Workflows that come with the package."""
    for name in shipped_workflows():
        console.print(f"[bold]{name:<22}[/] {load_workflow(name).description}", highlight=False)


def workflow_show(name: Annotated[str, typer.Argument(help="A shipped workflow or a .yaml file.")]) -> None:
    """A workflow with every parameter it will use."""
    workflow = load_workflow(name)
    console.print(f"[bold]{workflow.name}[/]: {workflow.description}", highlight=False)
    for node in workflow.steps:
        source = ", ".join(node.feeds.values()) or "raw data"
        console.print(f"\n[bold]{node.name}[/] ({node.step}) <- {source}  {node.comment}", highlight=False)
        if node.is_missing:
            console.print("  [yellow]missing: this step does not exist yet[/]")
            for parameter, value in node.parameters.items():
                console.print(f"  * {parameter} = {value!r}", highlight=False)
            continue
        for parameter, value in validated_params(node).model_dump(mode="json").items():
            mark = "*" if parameter in node.parameters else " "
            console.print(f"  {mark} {parameter} = {value!r}", highlight=False)
    if workflow.missing:
        console.print("\n[bold]Left out until it exists[/]")
        for note in workflow.runnable().notes:
            console.print(f"  {note}", highlight=False, soft_wrap=True)


def workflow_export(
    project: ProjectOption,
    to: Annotated[Path | None, typer.Option(help="File; else it is printed.")] = None,
    last: Annotated[bool, typer.Option("--last", help="Only what was asked for last.")] = False,
) -> None:
    """What a project did, all runs with their links, as a workflow for other data."""
    opened = Project.open(project)
    text = (opened.last_workflow() if last else opened.workflow()).to_yaml()
    if to is None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    else:
        to.write_text(text)


def workflow_import(
    file: Annotated[Path, typer.Argument(help="Workflow or template that Scipion exported (JSON).")],
    to: Annotated[Path | None, typer.Option(help="YAML file to write; else it is printed.")] = None,
    json: Annotated[bool, typer.Option("--json", help="For scripts: the steps and what is left.")] = False,
) -> None:
    """Translate a workflow of Scipion; whatever could not be translated is listed with the reason."""
    imported = import_scipion(file)
    text = imported.to_yaml()
    if to is not None:
        to.write_text(text)
    if json:
        left = [dataclasses.asdict(one) for one in imported.left]
        steps = imported.workflow.model_dump(mode="json")["steps"]
        print(as_json({"steps": steps, "missing": [n.name for n in imported.workflow.missing], "left": left}))  # noqa: T201
        return
    if to is None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)
        return
    missing = [node.name for node in imported.workflow.missing]
    console.print(f"{len(imported.workflow.steps)} steps in {to}", highlight=False)
    if missing:
        console.print(
            f"of steps that do not exist yet: {', '.join(missing)}", highlight=False, soft_wrap=True
        )
    for one in imported.left:
        console.print(f"not translated: {one}", highlight=False, markup=False, soft_wrap=True)
