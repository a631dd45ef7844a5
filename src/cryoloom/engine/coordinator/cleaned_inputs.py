"""Recompute inputs whose files were removed to save space before the steps that need them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryoloom.engine.coordinator.input_matching import WorkItem
from cryoloom.store.database import Database
from cryoloom.store.records import ItemRecord

__all__ = ["CleanedInputs"]


class CleanedInputs:
    """Results that were reused although their files were removed, and the work that recomputes them."""

    def __init__(self, project: Path, database: Database) -> None:
        self._project, self._database = project, database
        self._any = database.has_cleaned()
        self._work: dict[int, WorkItem] = {}
        self._being_made: set[int] = set()

    def note(self, known: ItemRecord, work: WorkItem) -> None:
        """A result is reused: keep the work that recomputes it, if its files were removed."""
        if self._any and known.id is not None and any(file.is_cleaned for file in known.files):
            self._work[known.id] = work

    def lacks_for_good(self, known: ItemRecord, run_id: int) -> bool:
        """Whether files that a result refers to are gone and cannot come back under their names.

        They can where the run that made them works again: then they lie where they lay.
        """
        if not self._any or known.id is None:
            return False
        if known.run_id != run_id and any(file.is_cleaned for file in known.files):
            return True
        owners = self._owners(self._database.value_of(known.id)) - {known.id}
        return not owners <= self._work.keys() | self._being_made

    def needed_by(self, work: WorkItem) -> tuple[bool, list[WorkItem]]:
        """Whether work must wait for recomputed files, and which of that can begin now.

        It comes to its node once more when they are made.
        """
        if not self._any:
            return False, []
        owners: set[int] = set()
        for item in work.items:
            value = item.value
            if value is None and item.id is not None:
                value = self._database.value_of(item.id)
            owners |= self._owners(value)
        begin: list[WorkItem] = []
        for item_id in sorted(owners & self._work.keys()):
            if item_id not in self._work:
                continue  # begun for another of these
            waits, before = self.needed_by(self._work[item_id])
            begin += before
            if not waits:
                self._database.forget_cleaning([item_id])
                begin.append(self._work.pop(item_id))
                self._being_made.add(item_id)
        return bool(owners & (self._work.keys() | self._being_made)), begin

    def missing_of(self, items: Sequence[ItemRecord]) -> list[str]:
        """Names of the items that refer to files which were removed."""
        if not self._any:
            return []
        return [item.name for item in items if self._owners(self._database.value_of(item.id or 0))]

    def _owners(self, value: Mapping[str, Any] | None) -> set[int]:
        """Items whose files a stored value refers to, and that are not there."""
        gone = [path for path in _paths_in(value) if not (self._project / path).exists()]
        return self._database.owners_of(gone) if gone else set()


def _paths_in(value: object) -> Iterator[str]:
    """Paths of pixels and tables in a stored value."""
    if isinstance(value, Mapping):
        for mark in ("$pixels", "$table"):
            if mark in value:
                yield value[mark]
        for inner in value.values():
            yield from _paths_in(inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            yield from _paths_in(inner)
