"""Counts of a project: runs, states of their items, first failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cryoloom.store.reading import Reader, WorkTime
from cryoloom.store.records import ItemRecord, RunRecord

__all__ = ["Overview", "overview_of"]


@dataclass(frozen=True, slots=True)
class Overview:
    """Runs, oldest first, and the numbers of their items by state."""

    runs: tuple[RunRecord, ...]
    counts: Mapping[int, Mapping[str, int]]
    failures: tuple[ItemRecord, ...]
    """The first failures of every run, by run and name."""
    times: Mapping[int, WorkTime] = field(default_factory=dict)
    """When each run worked."""


def overview_of(reader: Reader, most_failures: int) -> Overview:
    """Counts of a project; at most ``most_failures`` of every run are named."""
    runs, counts = reader.runs(), reader.count_states()
    failed = [run.id for run in runs if "failed" in counts.get(run.id, {})] if most_failures else []
    return Overview(
        runs,
        counts,
        tuple(one for run_id in failed for one in reader.failures(run_id, most_failures)),
        reader.work_times() if most_failures else {},
    )
