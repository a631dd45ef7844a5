"""The current workflow, derived from all requests (decision 18)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cryoloom.store.records import PlanRecord, RunRecord

__all__ = ["INPUT", "CurrentNode", "current_nodes"]

INPUT = "input"
"""Role of the first input of a node."""


@dataclass(frozen=True)
class CurrentNode:
    """A node of the current workflow."""

    name: str
    step: str
    asked: Mapping[str, Any]
    """As requested: a node of a workflow, as plain data."""
    feeds: Mapping[str, tuple[str, str]]
    """Node and output that feed every role; the first is "input". Empty for a source."""
    run_id: int | None
    """Its run; None if it was not begun."""
    items: tuple[str, ...] = ()
    """Works on these items only; empty means all."""


def current_nodes(plans: Sequence[PlanRecord], runs: Sequence[RunRecord]) -> tuple[CurrentNode, ...]:
    """The current workflow: the last one with a source, and the steps run by hand on its results."""
    if not plans:
        return _nodes_of_runs(runs)
    nodes: dict[str, CurrentNode] = {}
    by_hand: set[str] = set()
    by_id = {run.id: run for run in runs}
    for plan, following in zip(plans, (*plans[1:], None), strict=True):
        asked = plan.workflow["steps"]
        is_whole = len(asked) > 1 and any(step.get("input") is None for step in asked)
        kept = [nodes[name] for name in nodes if name in by_hand] if is_whole else []
        if is_whole:
            nodes, by_hand = {}, set()
        ignored = {step["name"] for step in asked if not _fold(nodes, by_hand, step, is_whole, by_id)}
        for node in kept:
            if node.name not in nodes and all(source in nodes for source, _ in node.feeds.values()):
                nodes[node.name] = node
                by_hand.add(node.name)
        for name, run_id in (plan.runs or _runs_of_older_plan(plan, following, runs)).items():
            if name in nodes and name not in ignored and run_id in by_id:
                nodes[name] = replace(nodes[name], run_id=run_id)
    return tuple(nodes.values())


def _fold(
    nodes: dict[str, CurrentNode],
    by_hand: set[str],
    asked: Mapping[str, Any],
    is_whole: bool,
    runs: Mapping[int, RunRecord],
) -> bool:
    """Add one requested step to the nodes; whether its run is now that of the node."""
    name, items = asked["name"], tuple(asked.get("items", ()))
    feeds: dict[str, tuple[str, str]] = {}
    written = {} if asked.get("input") is None else {INPUT: asked["input"]}
    for role, source in {**written, **asked.get("links", {})}.items():
        source, _, output = str(source).partition(".")
        if source.startswith("run:"):
            run = runs.get(int(source[4:]))
            if run is None or run.node not in nodes:
                return False  # made from something that is not a part of the workflow
            if run.id != nodes[run.node].run_id and not items:
                return False  # made from earlier results
            source = run.node
        feeds[role] = (source, output)
    there = nodes.get(name)
    if there is not None and not is_whole:
        if there.step != asked["step"] or dict(there.feeds) != feeds:
            return False
        if items and there.items:
            nodes[name] = replace(there, items=tuple(dict.fromkeys((*there.items, *items))))
        if items:  # other parameters of single items are decisions on these
            return there.run_id is None
    nodes[name] = CurrentNode(name, asked["step"], asked, feeds, None, items)
    if not is_whole and feeds and there is None:
        by_hand.add(name)
    return True


def _nodes_of_runs(runs: Sequence[RunRecord]) -> tuple[CurrentNode, ...]:
    """Nodes of a project without requests: the newest run of every name."""
    names = {run.id: run.node for run in runs}
    return tuple(
        CurrentNode(
            run.node,
            run.step,
            {"name": run.node, "step": run.step, "parameters": dict(run.parameters)},
            {
                role: (names[source], run.outputs.get(role, ""))
                for role, source in {INPUT: run.input_run_id, **run.links}.items()
                if source is not None
            },
            run.id,
        )
        for run in {run.node: run for run in runs}.values()
    )


def _runs_of_older_plan(
    plan: PlanRecord, following: PlanRecord | None, runs: Sequence[RunRecord]
) -> Mapping[str, int]:
    """Runs of the nodes of a plan of an older version: the last ones before the next plan."""
    names = {step["name"] for step in plan.workflow["steps"]}
    ordered = sorted(runs, key=lambda run: (run.ended is None, run.ended or run.created))
    return {
        run.node: run.id
        for run in ordered
        if run.node in names and (following is None or run.created < following.created)
    }
