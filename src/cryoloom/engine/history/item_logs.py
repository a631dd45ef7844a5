"""The log of an item in a run: messages of its step and output of outside programs."""

from __future__ import annotations

from pathlib import Path

from cryoloom.engine.worker.item_log import LOG_NAME
from cryoloom.errors import UserInputError
from cryoloom.store.reading import Reader
from cryoloom.store.records import ItemRecord, RunRecord

__all__ = ["item_log", "item_logs"]


def item_log(database: Reader, folder: Path, run: RunRecord, name: str) -> Path:
    """The file in which the work on an item is logged; for a reused result that of the original run.

    It exists while a worker works on the item. Raises UserInputError if there is none.
    """
    path = folder / run.folder / name / LOG_NAME
    if path.is_file():
        return path
    items = [item for item in database.items(run.id, with_values=False) if item.name == name]
    if not items:
        raise UserInputError(f"run {run.id} ({run.node}) has no item {name!r}")
    if (found := _log_of(database, folder, items)) is not None:
        return found
    raise UserInputError(
        f"there is no log of {name} in run {run.id} ({run.node}); items that a source finds and runs of "
        "cryoloom before 0.2 have none"
    )


def item_logs(database: Reader, folder: Path, name: str) -> list[tuple[RunRecord, Path]]:
    """The logs of an item in the latest run of every node that has one, in the order of the runs.

    Raises UserInputError if no run has such an item.
    """
    logs: dict[str, tuple[RunRecord, Path]] = {}
    is_known = False
    for run in database.runs():
        items = [item for item in database.items(run.id, with_values=False) if item.name == name]
        own = folder / run.folder / name / LOG_NAME
        path = own if own.is_file() else _log_of(database, folder, items)
        is_known = is_known or bool(items) or path is not None
        if path is not None:
            logs[run.node] = (run, path)
    if not is_known:
        raise UserInputError(f"no run has an item {name!r}; `cryoloom status` names those there are")
    return sorted(logs.values(), key=lambda log: log[0].id)


def _log_of(database: Reader, folder: Path, items: list[ItemRecord]) -> Path | None:
    """The log of the work that gave one of these, in whichever run that was."""
    runs = {each.id: each for each in database.runs()}
    for item in items:
        made_by = _worked_on(database, item)
        path = folder / runs[made_by.run_id].folder / made_by.name / LOG_NAME
        if path.is_file():
            return path
    return None


def _worked_on(database: Reader, item: ItemRecord) -> ItemRecord:
    """The item whose work gave this one, in whichever run that was."""
    while (source := item.reused_from or item.part_of) is not None:
        item = database.item(source)
    return item
