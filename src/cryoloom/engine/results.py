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
    """Runs of the workflow asked for last, in its order; older runs of changed parameters are left out."""
    plan = database.last_plan()
    nodes = None if plan is None else [node["name"] for node in plan.workflow["steps"]]
    return runs_of_nodes(database.runs(), nodes)


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
    history: dict[str, list[tuple[RunRecord, ItemRecord]]] = {}
    for run in current_runs(database):
        for item in database.items(run.id, with_values=with_values, with_records=with_records):
            history.setdefault(item.name, []).append((run, item))
    return dict(sorted(history.items()))


def final_items(database: Database) -> list[ItemRecord]:
    """The furthest finished result of every item that was not left out in the end."""
    final = []
    for steps in history_of(database, with_values=False).values():
        done = [item for _, item in steps if item.state == "done"]
        if steps[-1][1].state != "left_out":
            final += [replace(item, value=database.value_of(item.id or 0)) for item in done[-1:]]
    return final
