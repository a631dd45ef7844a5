"""The current workflow in a form that can be run, and parameters of single series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryoloom.contract import find_step
from cryoloom.engine.graph.validation import validated
from cryoloom.engine.graph.workflow import INPUT, Node, Workflow, run_id_of, validated_params
from cryoloom.store.current import CurrentState, current_state, own_parameters_of
from cryoloom.store.current_nodes import current_nodes
from cryoloom.store.decisions import Change, in_force
from cryoloom.store.reading import Reader

__all__ = ["changes_by_hand", "changes_of_series", "current_workflow"]


def current_workflow(reader: Reader) -> Workflow | None:
    """The nodes of `current.current_nodes` as a workflow; None if there was no request yet."""
    plans = reader.plans()
    nodes = current_nodes(plans, reader.runs())
    if not plans:
        return None
    if not nodes:
        return Workflow.model_validate(plans[-1].workflow)
    steps = []
    for node in nodes:
        sources = {
            role: f"{source}.{output}" if output else source for role, (source, output) in node.feeds.items()
        }
        asked = {key: value for key, value in node.asked.items() if key not in {"input", "links", "items"}}
        steps.append(
            {**asked, "input": sources.pop(INPUT, None), "links": sources, "items": list(node.items)}
        )
    whole = next((plan for plan in reversed(plans) if len(plan.workflow["steps"]) > 1), plans[-1])
    return Workflow.model_validate({"name": whole.workflow["name"], "steps": steps})


def changes_of_series(
    workflow: Workflow, of_series: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> tuple[Change, ...]:
    """Decisions that give single series their own parameters, checked by the steps.

    of_series : ``{series: {node: {parameter: value}}}``.
    """
    return tuple(
        Change("parameter", series, f"{node}.{name}", value)
        for series, by_node in of_series.items()
        for node, given in by_node.items()
        for name, value in _checked(workflow.node(node), given, series).items()
    )


def _checked(node: Node, given: Mapping[str, Any], series: str) -> dict[str, Any]:
    """The given parameters as the step understands them, checked together with those of the node."""
    checked = validated(find_step(node.step).params, {**node.parameters, **given}, f"{node.name} of {series}")
    return {name: value for name, value in checked.model_dump(mode="json").items() if name in given}


def changes_by_hand(reader: Reader, plan: Workflow, values: Mapping[str, Any]) -> tuple[Change, ...]:
    """Decisions implied by a step run by hand, if it is a step of the current workflow.

    On named items, the parameters that differ from the others become theirs. On all items, given parameters
    apply to all, including series that had their own.
    """
    asked, state = plan.steps[0], current_state(reader)
    nodes = {node.name: node for node in state.nodes}
    runs = {run.id: run for run in reader.runs()}
    node = nodes.get(asked.name)
    if node is None or node.step != asked.step or node.run_id not in runs:
        return ()
    fed_by = {role: _node_of(source, runs) for role, source in asked.feeds.items()}
    if fed_by != {role: source for role, (source, _) in node.feeds.items()}:
        return ()
    for source in asked.feeds.values():
        run_id = run_id_of(source)
        if run_id != nodes[_node_of(source, runs)].run_id and not (
            asked.items and all(_comes_from(state, series, run_id) for series in asked.items)
        ):
            return ()  # an experiment on other results
    own = own_parameters_of(in_force(reader.decisions()))
    if not asked.items:
        return tuple(
            Change("parameter", series, f"{of_node}.{name}", None)
            for (series, of_node), given in own.items()
            for name in given
            if of_node == node.name and name in values
        )
    common = runs[node.run_id].parameters
    wanted = validated_params(asked).model_dump(mode="json")
    changes = []
    for series in asked.items:
        had = own.get((series, node.name), {})
        for name, value in wanted.items():
            now = value if value != common.get(name) else None
            if had.get(name) != now:
                changes.append(Change("parameter", series, f"{node.name}.{name}", now))
    return tuple(changes)


def _comes_from(state: CurrentState, series: str, run_id: int | None) -> bool:
    """Whether a current result of a series is of this run."""
    found = state.series.get(series)
    return found is not None and any(run.id == run_id for run, _ in found.made)


def _node_of(source: str, runs: Mapping[int, Any]) -> str:
    """Name of the node whose run a source ``run:N`` or ``run:N.output`` is."""
    run = runs.get(int(source.partition(".")[0].removeprefix("run:")))
    return "" if run is None else str(run.node)
