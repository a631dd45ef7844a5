"""Workflows: list, show, run, export, import, scipion."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cryoloom.cli.group import LazyGroup, typer_app
from cryoloom.cli.options import ProjectOption, expanded
from cryoloom.cli.parameters import as_json
from cryoloom.cli.terminal import console
from cryoloom.engine.graph.workflow import load_workflow, shipped_descriptions, validated_params
from cryoloom.engine.graph.workflow_export import last_workflow_of, workflow_of_runs
from cryoloom.scipion.workflow_export import write_scipion
from cryoloom.scipion.workflow_import import import_scipion
from cryoloom.store.reading import ProjectReader

__all__ = ["workflow"]


def workflow_list() -> None:
    """Workflows that come with the package."""
    for name, description in shipped_descriptions().items():
        console.print(f"[bold]{name:<22}[/] {description}", highlight=False)


def workflow_show(
    name: Annotated[str, typer.Argument(help="A shipped workflow or a .yaml file.")],
    as_yaml: Annotated[
        bool, typer.Option("--yaml", help="Print it as a file that can be changed and run.")
    ] = False,
) -> None:
    """Show a workflow with every parameter it will use."""
    workflow = load_workflow(name)
    if as_yaml:
        console.print(workflow.to_yaml(), soft_wrap=True, highlight=False, markup=False)
        return
    console.print(f"[bold]{workflow.name}[/]: {workflow.description}", highlight=False)
    for node in workflow.steps:
        source = ", ".join(node.feeds.values()) or "raw data"
        console.print(f"\n[bold]{node.name}[/] ({node.step}) <- {source}  {node.comment}", highlight=False)
        for parameter, value in validated_params(node).model_dump(mode="json").items():
            mark = "*" if parameter in node.parameters else " "
            console.print(f"  {mark} {parameter} = {value!r}", highlight=False)
        if node.programs:
            chain = " and ".join(work.step for work in node.programs)
            console.print(f"  --with programs: {chain}", highlight=False)


def workflow_export(
    project: ProjectOption,
    to: Annotated[Path | None, typer.Option(help="File to write. Unset: print it.")] = None,
    last: Annotated[bool, typer.Option("--last", help="Only the last request.")] = False,
) -> None:
    """Export what a project did, all runs with their links, as a workflow for other data."""
    with ProjectReader(project) as reader:
        made = (
            last_workflow_of(reader, project) if last else workflow_of_runs(reader, project.absolute().name)
        )
    text = made.to_yaml()
    if to is None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    else:
        to.write_text(text)


def workflow_scipion(
    name: Annotated[str, typer.Argument(help="A shipped workflow or a .yaml file.")],
    to: Annotated[Path, typer.Option(help="JSON file to write, which Scipion imports.")],
) -> None:
    """Write a workflow for Scipion; what has no counterpart there is listed."""
    exported = write_scipion(load_workflow(name), to)
    console.print(f"{len(exported.protocols)} protocols in {to}", highlight=False, soft_wrap=True)
    for line in exported.left:
        console.print(f"  not in it: {line}", highlight=False, soft_wrap=True)


def workflow_import(
    file: Annotated[Path, typer.Argument(help="Workflow or template that Scipion exported (JSON).")],
    to: Annotated[Path | None, typer.Option(help="YAML file to write. Unset: print it.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="For scripts: the steps, and what was not translated.")
    ] = False,
) -> None:
    """Translate a workflow of Scipion; what cannot be translated is listed with the reason."""
    imported = import_scipion(file)
    text = imported.to_yaml()
    if to is not None:
        to.write_text(text)
    if json:
        left = [dataclasses.asdict(one) for one in imported.left]
        steps = imported.workflow.model_dump(mode="json")["steps"]
        print(as_json({"steps": steps, "left": left}))  # noqa: T201
        return
    if to is None:
        console.print(text, soft_wrap=True, highlight=False, markup=False)
        return
    console.print(f"{len(imported.workflow.steps)} steps in {to}", highlight=False)
    for one in imported.left:
        console.print(f"not translated: {one}", highlight=False, markup=False, soft_wrap=True)


_LIGHT: Mapping[str, Callable[..., None]] = {
    "list": workflow_list,
    "show": workflow_show,
    "export": workflow_export,
    "import": workflow_import,
    "scipion": workflow_scipion,
}


def workflow_command(name: str) -> Any:
    """A command of the group; only `run` imports the engine."""
    if name == "run":
        from cryoloom.cli.workflow_run import workflow_run

        return workflow_run
    return _LIGHT[name]


class WorkflowGroup(LazyGroup):
    """The commands on workflows."""

    def summaries(self) -> Mapping[str, tuple[str, str | None]]:
        """Their summaries."""
        run = "Run a workflow that contains the path of its raw data (or --set it)."
        light = {name: (_first_line(function), None) for name, function in _LIGHT.items()}
        return {"run": (run, None), **light}

    def make(self, name: str) -> Any:
        """The command."""
        app = typer_app()
        app.command(name)(expanded(workflow_command(name)))
        return typer.main.get_command(app)


def _first_line(function: Callable[..., None]) -> str:
    return (function.__doc__ or "").split("\n", 1)[0]


workflow = typer_app(
    name="workflow",
    cls=WorkflowGroup,
    no_args_is_help=True,
    help="Workflows: list, show, run, export, import, scipion.",
)


@workflow.callback()
def _workflow() -> None:
    """Workflows: list, show, run, export, import, scipion."""
