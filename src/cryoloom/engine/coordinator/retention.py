"""Files of a project that are kept: others that can be recomputed may be removed to save space.

What is recorded stays: values, figures, curves and logs, and that the files were removed. A step that needs
one of them later has it made again first (`coordinator.scheduler`).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from cryoloom.contract import find_step
from cryoloom.errors import UserInputError
from cryoloom.model import TiltSeries
from cryoloom.store.current import CurrentState, current_state
from cryoloom.store.database import Database
from cryoloom.store.disk import bytes_of
from cryoloom.store.reading import Reader
from cryoloom.store.records import ItemRecord, RunRecord

__all__ = ["Keep", "Removable", "clean", "parse_keep", "removable"]

Keep = Literal["results", "resumable", "everything"]
"""results : tomograms, averages and tables. resumable : the sums of movies too, which take longest to make.
everything : all files."""
_LEVELS: tuple[str, ...] = get_args(Keep)
_PIXELS = (".mrc", ".zarr")
"""Large files; others are kept in any case."""


@dataclass(frozen=True, slots=True)
class Removable:
    """Files of one item that can be made again."""

    run: RunRecord
    item: ItemRecord
    paths: tuple[Path, ...]
    """Relative to the project."""
    bytes: int
    seconds: float
    """Time that was needed to make them."""


def parse_keep(given: Sequence[str]) -> tuple[Keep, dict[str, Keep]]:
    """Levels from texts: ``LEVEL`` for the whole project, ``STEP=LEVEL`` for one step, by its node."""
    project: Keep = "everything"
    steps: dict[str, Keep] = {}
    for text in given:
        node, _, level = text.rpartition("=")
        if level not in _LEVELS:
            raise UserInputError(
                f"cannot keep {level!r}; expected one of {', '.join(_LEVELS)}, or STEP=one of them"
            )
        if node:
            steps[node] = level  # type: ignore[assignment]
        else:
            project = level  # type: ignore[assignment]
    return project, steps


def removable(
    database: Reader, folder: Path, keep: Keep, by_node: Mapping[str, Keep] | None = None
) -> tuple[Removable, ...]:
    """Files that need not be kept, oldest run first; of series that are through alone.

    A series is through when every step of the current workflow that waits for nothing else is done with it.
    What nothing follows is a result, whatever it is.
    """
    by_node, state = by_node or {}, current_state(database, with_details=False)
    runs = {run.id: run for run in database.runs()}
    fed = {source for node in state.nodes for source, _ in node.feeds.values()}
    fed |= {runs[i].node for run in runs.values() for i in run.input_run_ids if i in runs}
    through = _through(state)
    found = []
    for item in database.items(with_values=False):
        run = runs[item.run_id]
        level = by_node.get(run.node, keep)
        if item.state != "done" or item.reused_from is not None or item.name not in through:
            continue
        if run.node not in fed or not _is_between(run, level):
            continue
        paths = tuple(file.path for file in item.files if file.path.suffix in _PIXELS and not file.is_cleaned)
        n_bytes = sum(bytes_of(folder / path) for path in paths)
        if paths:
            found.append(Removable(run, item, paths, n_bytes, item.seconds))
    return tuple(found)


def clean(database: Database, folder: Path, chosen: Sequence[Removable]) -> int:
    """Remove files; gives the bytes that became free. The caller holds the project's lock.

    After a crash, files may remain that are recorded as removed; the next call removes them.
    """
    database.mark_cleaned([one.item.id for one in chosen if one.item.id is not None], _PIXELS)
    for one in chosen:
        for path in one.paths:
            if path.suffix == ".zarr":
                shutil.rmtree(folder / path, ignore_errors=True)
            else:
                (folder / path).unlink(missing_ok=True)
    for item in database.items(with_values=False):
        for file in item.files:
            if file.is_cleaned:
                (folder / file.path).unlink(missing_ok=True)
    return sum(one.bytes for one in chosen)


def _is_between(run: RunRecord, level: Keep) -> bool:
    """Whether what a run makes is only on the way to results."""
    step = find_step(run.step)
    if level == "everything" or step.gives is not TiltSeries or step.needs is None:
        return False
    return level == "results" or "images" not in step.source_of


def _through(state: CurrentState) -> set[str]:
    """Names of series that no step has still to work on."""
    for node in state.nodes:
        if find_step(node.step).gathers:
            standings = [s for one in state.series.values() for s in one.standings if s.node == node.name]
            if not standings or any(standing.state != "current" for standing in standings):
                return set()
    return {
        one.name
        for one in state.series.values()
        if all(standing.state in ("current", "left_out") for standing in one.standings)
    }
