"""The state of a project, kept between reads: only items that depend on a change are evaluated again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from cryoloom.store.current import SeriesState
from cryoloom.store.current_finder import CurrentFinder
from cryoloom.store.current_nodes import CurrentNode, current_nodes
from cryoloom.store.decisions import Decision, in_force
from cryoloom.store.reading import ProjectReader
from cryoloom.store.records import ItemRecord, PlanRecord, RunRecord

__all__ = ["CurrentLog", "CurrentReading"]


@dataclass(frozen=True, slots=True)
class CurrentReading:
    """State of all items of a project, and the items that were evaluated again."""

    nodes: tuple[CurrentNode, ...]
    runs: tuple[RunRecord, ...]
    """Runs that made the existing results, in the order of the workflow."""
    series: Mapping[str, SeriesState]
    """Series by name, in alphabetical order."""
    changed: frozenset[str] | None
    """Names whose state may differ from the reading before; None for all."""


class CurrentLog:
    """Reads the current state of one project again and again."""

    def __init__(self, reader: ProjectReader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._finder: CurrentFinder | None = None
        self._runs: tuple[RunRecord, ...] = ()
        self._plans: tuple[PlanRecord, ...] = ()
        self._events: tuple[Decision, ...] = ()
        self._number = 0
        self._nodes: tuple[CurrentNode, ...] = ()
        self._series: dict[str, SeriesState] = {}
        self._n_made: Counter[int] = Counter()

    def read(self, most_changes: int | None = None) -> CurrentReading | None:
        """The state now.

        most_changes : returns None where more items changed, or the runs: that takes up to a second.
        """
        with self._lock, self._reader.one_state():
            runs, plans = self._reader.runs(), self._reader.plans()
            events, number = self._reader.decisions(), self._reader.last_change()
            changed: set[str] | None = None
            if self._finder is not None and (runs, plans) == (self._runs, self._plans):
                if most_changes is not None and self._reader.n_changed_since(self._number) > most_changes:
                    return None
                changed = self._update(events)
            if changed is None:
                if most_changes is not None:
                    return None
                self._read_all(runs, plans, events)
            self._events, self._number = events, number
            order = {node.name: i for i, node in enumerate(self._nodes)}
            used = [run for run in runs if self._n_made[run.id]]
            return CurrentReading(
                self._nodes,
                tuple(sorted(used, key=lambda run: (order.get(run.node, -1), run.id))),
                self._series,
                None if changed is None else frozenset(changed),
            )

    def _update(self, events: tuple[Decision, ...]) -> set[str] | None:
        """Look again at what depends on changes; returns the names, or None where all must be read."""
        finder, n_known = self._finder, len(self._events)
        is_continued = len(events) >= n_known and (
            not n_known or events[n_known - 1].id == self._events[-1].id
        )
        if finder is None or not is_continued:
            return None
        decided = {event.item for event in events[n_known:]}
        applied: dict[str, list[Decision]] = {name: [] for name in decided}
        for one in in_force(event for event in events if event.item in decided) if decided else ():
            applied[one.item].append(one)
        items: dict[int, ItemRecord | None] = self._reader.items_changed_since(self._number)
        if not items and not decided:
            return set()
        self._finder = None  # if it fails half-way, everything is read again
        changed = finder.update(self._nodes, items, applied)
        if changed is not None:
            self._look(finder, changed)
            self._finder = finder
        return changed

    def _look(self, finder: CurrentFinder, names: set[str]) -> None:
        """Take the states of some names; mappings that were given away stay as they are."""
        series = dict(self._series)
        for name in names:
            if (before := series.get(name)) is not None:
                self._n_made.subtract(run.id for run, _ in before.made)
            there = tuple(
                found for node in self._nodes if (found := finder.standings[node.name].get(name)) is not None
            )
            if there:
                series[name] = SeriesState(name, there)
                self._n_made.update(run.id for run, _ in series[name].made)
            elif before is not None:
                del series[name]
        is_sorted = series.keys() == self._series.keys()
        self._series = series if is_sorted else dict(sorted(series.items()))

    def _read_all(
        self, runs: tuple[RunRecord, ...], plans: tuple[PlanRecord, ...], events: tuple[Decision, ...]
    ) -> None:
        self._finder = None  # where reading fails, nothing half-read is kept
        finder = CurrentFinder(
            {run.id: run for run in runs}, self._reader.items(with_values=False), in_force(events)
        )
        self._nodes = current_nodes(plans, runs)
        finder.find(self._nodes)
        self._series, self._n_made = {}, Counter()
        self._look(finder, {name for found in finder.standings.values() for name in found})
        self._finder, self._runs, self._plans = finder, runs, plans
