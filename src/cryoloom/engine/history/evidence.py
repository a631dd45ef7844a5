"""Decisions of the import for every series, and their reasons: read from the records of its items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cryoloom.contract.discovery import record_names
from cryoloom.model.evidence import Evidence, evidence_from_json, explain
from cryoloom.store.records import ItemRecord

__all__ = ["evidence_by_series", "explained"]


def evidence_by_series(items: Iterable[ItemRecord]) -> dict[str, tuple[Evidence, ...]]:
    """Evidence of each series by its name, of the newest run that imported it.

    Items of other steps, and of projects from before evidence was kept, have none and are left out.
    """
    newest: dict[str, ItemRecord] = {}
    for item in items:
        before = newest.get(item.name)
        if _evidence(item) and (before is None or item.run_id > before.run_id):
            newest[item.name] = item
    return {name: evidence_from_json(_evidence(newest[name])) for name in sorted(newest)}


def explained(items: Iterable[ItemRecord], names: Sequence[str] = ()) -> list[str]:
    """Lines for a terminal, as `cryoloom status --explain` prints them; of these series, or of all."""
    lines: list[str] = []
    for name, evidence in evidence_by_series(items).items():
        if not names or name in names:
            lines += [name, *(f"  {line}" for line in explain(evidence))]
    return lines


def _evidence(item: ItemRecord) -> list[dict[str, Any]]:
    """What an import recorded of its sources; of any other item nothing."""
    kept = [item.records[name] for name in record_names("evidence") & item.records.keys()]
    return next((one["evidence"] for one in kept if isinstance(one, dict) and one.get("evidence")), [])
