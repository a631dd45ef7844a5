"""The runs of a project, as a workflow that does the same with other data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryoloom.contract import Step, find_step
from cryoloom.engine.graph.workflow import INPUT, Node, Workflow
from cryoloom.errors import UserInputError
from cryoloom.store.reading import Reader
from cryoloom.store.records import RunRecord

__all__ = ["last_workflow_of", "workflow_of_runs"]


def workflow_of_runs(database: Reader, name: str) -> Workflow:
    """Every run with results, linked as it was; runs that differ only in the step's version are one.

    A second run of a name gets a number. Parameters at their default are omitted, so that a file shows only
    choices.
    """
    runs = database.runs()
    finished = {item.run_id for item in database.items(with_values=False) if item.state != "failed"}
    needed = {source for run in runs for source in run.input_run_ids}
    nodes: dict[tuple[Any, ...], Node] = {}
    node_of_run: dict[int, str] = {}
    for run in runs:
        if run.id not in finished | needed:
            continue
        sources = ({} if run.input_run_id is None else {INPUT: run.input_run_id}) | dict(run.links)
        feeds = {role: _link(node_of_run[source], run.outputs.get(role)) for role, source in sources.items()}
        parameters = _chosen(find_step(run.step), run)
        alike = (run.step, repr(sorted(parameters.items())), tuple(sorted(feeds.items())))
        if alike not in nodes:
            taken = {node.name for node in nodes.values()}
            nodes[alike] = Node(
                name=_free_name(run.node, taken),
                step=run.step,
                input=feeds.pop(INPUT, None),
                links=feeds,
                parameters=parameters,
                comment=run.comment,
            )
        node_of_run[run.id] = nodes[alike].name
    if not nodes:
        raise UserInputError("no run has results yet; there is nothing to export")
    return Workflow(name=name, description="What was done in a project.", steps=tuple(nodes.values()))


def last_workflow_of(database: Reader, folder: Path) -> Workflow:
    """The last requested workflow, in a form that can be run on other data."""
    plan = database.last_plan()
    if plan is None:
        raise UserInputError(f"nothing was run in {folder} yet")
    return Workflow.model_validate(plan.workflow)


def _link(node: str, output: str | None) -> str:
    return f"{node}.{output}" if output else node


def _free_name(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _chosen(step: Step, run: RunRecord) -> dict[str, Any]:
    """Parameters of a run that are not the step's defaults; those it no longer has are left out."""
    chosen = {}
    for name, value in run.parameters.items():
        field = step.params.model_fields.get(name)
        if field is None:
            continue
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        plain = step.params.model_construct(**{name: default}).model_dump(mode="json", include={name})[name]
        if field.is_required() or value != plain:
            chosen[name] = value
    return chosen
