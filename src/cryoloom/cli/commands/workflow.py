"""Workflows: list, show, run, export, import."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cryoloom.cli.conclusion import conclude, listener_for, opened_or_made
from cryoloom.cli.dry_run import nearest_folder, project_for_dry_run, show_dry_run
from cryoloom.cli.group import typer_app
from cryoloom.cli.options import (
    DryRunOption,
    JsonOption,
    ProjectOption,
    SeriesFileOption,
    SetOption,
    WorkerOptions,
    expanded,
)
from cryoloom.cli.parameters import (
    as_json,
    parse_settings,
)
from cryoloom.engine.graph.workflow import load_workflow, shipped_workflows, validated_params
from cryoloom.engine.project import Project
from cryoloom.scipion.workflow_import import import_scipion

__all__ = ["workflow"]

console = Console()


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


def workflow_run(
    workflow: Annotated[str, typer.Argument(help="A shipped workflow or a .yaml file.")],
    project: ProjectOption,
    workers: WorkerOptions,
    settings: SetOption = None,
    series_settings: SeriesFileOption = None,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Run a workflow that says itself where its raw data are (or --set it)."""
    given = parse_settings(settings or (), series_settings)
    if dry_run:
        with project_for_dry_run(project) as opened:
            planned = opened.dry_run(workflow, parameters=given.everywhere, of_series=given.of_series)
            show_dry_run(planned, json, nearest_folder(project))
        return
    with opened_or_made(project) as opened, listener_for(json) as listener:
        summary = opened.run_workflow(
            workflow,
            parameters=given.everywhere,
            of_series=given.of_series,
            executor=workers.workplace(),
            listener=listener,
        )
    conclude(opened, summary, json)


workflow = typer_app(no_args_is_help=True, help="Workflows: list, show, run, export, import.")
for _name, _command in (
    ("list", workflow_list),
    ("show", workflow_show),
    ("run", expanded(workflow_run)),
    ("export", workflow_export),
    ("import", workflow_import),
):
    workflow.command(_name)(_command)
