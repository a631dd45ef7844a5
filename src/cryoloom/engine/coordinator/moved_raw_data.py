"""Series whose raw data were moved after the import: later steps continue from the recorded import.

Laboratories move raw movies to an archive after processing. Most later steps do not need them. If the movies
are no longer in their place, the source gives the series of the earlier import, with a warning. A step that
needs a movie fails and names the path that it could not read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from cryoloom.engine.coordinator.sources import files_in
from cryoloom.errors import UserInputError
from cryoloom.store.reading import Reader
from cryoloom.store.records import ItemRecord

__all__ = ["found_or_recorded"]


def found_or_recorded(
    found: Iterator[ItemRecord | None],
    run_id: int,
    reader: Reader,
    project: Path,
    wanted: Collection[str] = (),
) -> Iterator[ItemRecord | None]:
    """Items that a source finds, and the recorded items of its run whose files are no longer in their place.

    wanted : names of the items that the source's node takes; empty for all.
    Raises the error of the source if its run has no such item, or if the files of any are still in place.
    """
    before = {
        item.name: item
        for item in reader.items(run_id, with_values=False, with_details=False)
        if item.state == "done" and (not wanted or item.name in wanted)
    }
    try:
        for item in found:
            known = None if item is None else before.pop(item.name, None)
            moved = (
                item is not None and item.state == "failed" and known and _as_recorded(known, reader, project)
            )
            yield moved or item
    except UserInputError:
        moved_items = [_as_recorded(known, reader, project) for known in before.values()]
        if not moved_items or not all(moved_items):
            raise
        yield from moved_items
        return
    for known in before.values():
        if moved := _as_recorded(known, reader, project):
            yield moved


def _as_recorded(known: ItemRecord, reader: Reader, project: Path) -> ItemRecord | None:
    """A recorded item with a warning, if one of its files is gone; None if all are in their place."""
    value = reader.value_of(known.id or 0)
    gone = [path for path in files_in(value, project) if not path.exists()]
    if not gone:
        return None
    more = f" and {len(gone) - 1} more files are" if len(gone) > 1 else " is"
    note = f"{gone[0]}{more} no longer there; {known.name} goes on as it was imported"
    return replace(known, value=value, warnings=(*known.warnings, note))
