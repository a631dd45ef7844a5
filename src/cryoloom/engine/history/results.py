"""Results of a project: per item, per series, per file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cryoloom.errors import UserInputError
from cryoloom.store.current import current_state
from cryoloom.store.reading import Reader
from cryoloom.store.records import ItemRecord, RunRecord, sentence

__all__ = [
    "ItemResult",
    "by_activity",
    "current_runs",
    "final_items",
    "history_of",
    "named_run",
    "names_of",
    "results_of",
    "sentence",
]


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


def results_of(database: Reader, folder: Path) -> tuple[ItemResult, ...]:
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
                files={file.role: str(folder / file.path) for file in made_by.files if not file.is_cleaned},
                warnings=item.warnings,
                error=sentence(item.error),
                reason=item.reason,
                seconds=item.seconds,
                reused=item.reused_from is not None,
            )
        )
    return tuple(results)


def by_activity(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Runs in the order in which they were last processed: an old one may have been continued."""
    return sorted(runs, key=lambda run: (run.ended is None, run.ended or run.created))


def named_run(runs: Sequence[RunRecord], name: str | int) -> RunRecord:
    """A run by number or folder, or the one of a name that was processed last."""
    for run in reversed(by_activity(runs)):
        if str(name) in {str(run.id), run.node, Path(run.folder).name}:
            return run
    raise UserInputError(f"there is no run {name!r}; runs here: {names_of(runs)}")


def names_of(runs: Iterable[RunRecord]) -> str:
    """Numbers and nodes of runs, for a message."""
    return ", ".join(f"{run.id} ({run.node})" for run in runs) or "none"


def current_runs(reader: Reader) -> tuple[RunRecord, ...]:
    """Runs that made the current results, in the order of the workflow; including steps run by hand."""
    return current_state(reader).runs


def history_of(
    reader: Reader, *, with_values: bool = True, with_records: bool = False
) -> dict[str, list[tuple[RunRecord, ItemRecord]]]:
    """For every item name, its results at the nodes of the current workflow, in their order.

    Outdated results are included, as they were made (`current.current_state` shows which).
    """
    state = current_state(reader, with_values=with_values, with_records=with_records)
    return {name: list(one.made) for name, one in state.series.items() if one.made}


def final_items(reader: Reader) -> list[ItemRecord]:
    """The furthest finished result of every item that was not left out in the end, as it was made."""
    final = []
    for one in current_state(reader).series.values():
        done = [item for _, item in one.made if item.state == "done"]
        if done and one.state != "left_out":
            final.append(replace(done[-1], value=reader.value_of(done[-1].id or 0)))
    return [item for item in final if not item.is_fanned_out]
