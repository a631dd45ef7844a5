"""What a project has come to: per item, per series, per file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryoloom.store.records import ItemRecord, RunRecord

if TYPE_CHECKING:
    from cryoloom.store.database import Database

__all__ = ["ItemResult", "final_items", "history_of", "results_of"]


@dataclass(frozen=True, slots=True)
class ItemResult:
    """One item of one run, as `cryoloom results --json` prints it."""

    run: int
    step: str
    item: str
    state: str
    figures: Mapping[str, float]
    not_measurable: Mapping[str, str]
    """Why a figure has no value, by its name."""
    files: Mapping[str, str]
    """Absolute paths by role."""
    warnings: tuple[str, ...]
    error: str | None
    reason: str
    """Why the item was left out, if it was."""
    seconds: float
    reused: bool


def results_of(database: Database, folder: Path) -> tuple[ItemResult, ...]:
    """All items, by run and name."""
    runs = {run.id: run for run in database.runs()}
    items = database.items(with_values=False)
    by_id = {item.id: item for item in items}
    results = []
    for item in items:
        made_by = by_id.get(item.reused_from, item)
        results.append(
            ItemResult(
                run=item.run_id,
                step=runs[item.run_id].node,
                item=item.name,
                state=item.state,
                figures=item.figures,
                not_measurable=item.not_measurable,
                files={file.role: str(folder / file.path) for file in made_by.files},
                warnings=item.warnings,
                error=sentence(item.error),
                reason=item.reason,
                seconds=item.seconds,
                reused=item.reused_from is not None,
            )
        )
    return tuple(results)


def sentence(error: Mapping[str, Any] | None) -> str | None:
    """An item's error as one line."""
    if error is None:
        return None
    facts = ", ".join(f"{name}={value}" for name, value in error.get("facts", {}).items())
    return f"{error['message']} ({facts})" if facts else str(error["message"])


def by_activity(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Runs in the order in which they were last worked on: an old one may have been taken up again."""
    return sorted(runs, key=lambda run: (run.ended is None, run.ended or run.created))


def current_runs(database: Database) -> tuple[RunRecord, ...]:
    """Runs of the workflow asked for last, in its order; older runs of changed parameters are left out.

    A step run by hand on some items leaves the others where the workflow before it left them: its runs count
    too, in front.
    """
    chains = _chains(database)
    if len(chains) == 1:
        return chains[0].runs
    made = {run.id for told in _history(database, chains, with_values=False).values() for run, _ in told}
    ordered = {run.id: run for chain in reversed(chains) for run in chain.runs if run.id in made}
    return tuple(ordered.values())


@dataclass(frozen=True, slots=True)
class _Chain:
    """Runs of one plan, and in front of them those that fed it."""

    runs: tuple[RunRecord, ...]
    nodes: frozenset[str] | None
    """Of the plan itself; None for a project without plans, whose runs are all its own."""

    def owns(self, run: RunRecord) -> bool:
        return self.nodes is None or run.node in self.nodes


def _chains(database: Database) -> list[_Chain]:
    """The chain of the last plan, and of the one before as long as it was a step run by hand on another's."""
    runs, plans = list(database.runs()), database.plans()
    if not plans:
        return [_Chain(runs_of_nodes(runs, None), None)]
    chains: list[_Chain] = []
    for plan in reversed(plans):
        nodes = [node["name"] for node in plan.workflow["steps"]]
        chain = _Chain(runs_of_nodes(runs, nodes), frozenset(nodes))
        chains.append(chain)
        if not chain.runs or chain.owns(chain.runs[0]):
            break
        runs = [run for run in runs if run.created < plan.created]
    return chains


def runs_of_nodes(runs: Sequence[RunRecord], nodes: Sequence[str] | None) -> tuple[RunRecord, ...]:
    """The run of every node that was worked on last; of all nodes where none are named."""
    latest = {run.node: run for run in by_activity(runs)}
    if nodes is None:
        return tuple(latest.values())
    chain = [latest[name] for name in nodes if name in latest]
    # A single step run by hand continues a chain: put what fed it in front.
    by_id = {run.id: run for run in runs}
    while chain and chain[0].input_run_id is not None:
        chain.insert(0, by_id[chain[0].input_run_id])
    return tuple(chain)


def history_of(
    database: Database, *, with_values: bool = True, with_records: bool = False
) -> dict[str, list[tuple[RunRecord, ItemRecord]]]:
    """For every item name, what each current run made of it, in the order of the workflow."""
    return _history(database, _chains(database), with_values=with_values, with_records=with_records)


def _history(
    database: Database, chains: Sequence[_Chain], **how: bool
) -> dict[str, list[tuple[RunRecord, ItemRecord]]]:
    """`history_of` by the first chain whose own runs had the item, else by the first that was fed with it."""
    worked_on: dict[str, list[tuple[RunRecord, ItemRecord]]] = {}
    fed: dict[str, list[tuple[RunRecord, ItemRecord]]] = {}
    for chain in chains:
        history: dict[str, list[tuple[RunRecord, ItemRecord]]] = {}
        own: set[str] = set()
        for run in chain.runs:
            for item in database.items(run.id, **how):
                history.setdefault(item.name, []).append((run, item))
                if chain.owns(run):
                    own.add(item.name)
        for name, made in history.items():
            (worked_on if name in own else fed).setdefault(name, made)
    return dict(sorted((fed | worked_on).items()))


def final_items(database: Database) -> list[ItemRecord]:
    """The furthest finished result of every item that was not left out in the end."""
    final = []
    for steps in history_of(database, with_values=False).values():
        done = [item for _, item in steps if item.state == "done"]
        if steps[-1][1].state != "left_out":
            final += [replace(item, value=database.value_of(item.id or 0)) for item in done[-1:]]
    return [item for item in final if not item.is_fanned_out]
