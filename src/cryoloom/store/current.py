"""The current result of every item: the newest one that satisfies the present parameters and decisions.

Computed from the database alone (decision 18). Whether a result is current follows from its parameters, the
keys of its inputs, and the decisions that were applied, all of which are stored with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cryoloom.store.current_finder import (
    CurrentFinder,
    Standing,
    State,
    own_parameters_of,
    tilt_decisions_of,
)
from cryoloom.store.current_nodes import CurrentNode, current_nodes
from cryoloom.store.decisions import Decision, in_force
from cryoloom.store.reading import Reader
from cryoloom.store.records import ItemRecord, RunRecord

__all__ = [
    "CurrentState",
    "SeriesState",
    "Standing",
    "State",
    "current_state",
    "own_parameters_of",
    "tilt_decisions_of",
]


@dataclass(frozen=True)
class SeriesState:
    """State of an item at all nodes that it reaches, in the order of the workflow."""

    name: str
    standings: tuple[Standing, ...]

    @property
    def state(self) -> State:
        """State of the item as a whole: the first problem on its way, else current."""
        return self.deciding.state

    @property
    def deciding(self) -> Standing:
        """The first state that is not current, or the last one."""
        return next((one for one in self.standings if one.state != "current"), self.standings[-1])

    @property
    def result(self) -> ItemRecord | None:
        """The furthest current result, even if more is requested."""
        current = [one.item for one in self.standings if one.state == "current" and one.item is not None]
        return current[-1] if current else None

    @property
    def made(self) -> tuple[tuple[RunRecord, ItemRecord], ...]:
        """The items of one consistent chain, with their runs: each was made from those before it.

        The chain ends where only items made from earlier results follow.
        """
        return tuple(
            (one.run, one.item)
            for one in self.standings
            if one.run is not None and one.item is not None and one.is_shown
        )


@dataclass(frozen=True)
class CurrentState:
    """State of all items of a project."""

    nodes: tuple[CurrentNode, ...]
    series: Mapping[str, SeriesState]
    decisions: tuple[Decision, ...] = field(default=())
    """Decisions that apply."""

    def of_state(self, *states: State) -> tuple[SeriesState, ...]:
        """Items of these states, by name."""
        return tuple(one for one in self.series.values() if one.state in states)

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """Runs that made the existing results, in the order of the workflow."""
        order = {node.name: i for i, node in enumerate(self.nodes)}
        found = {run.id: run for one in self.series.values() for run, _ in one.made}
        return tuple(sorted(found.values(), key=lambda run: (order.get(run.node, -1), run.id)))


def current_state(
    reader: Reader, *, with_values: bool = False, with_records: bool = False, with_details: bool = True
) -> CurrentState:
    """State of every item of a project; arguments as of `Reader.items`."""
    runs = {run.id: run for run in reader.runs()}
    nodes = current_nodes(reader.plans(), tuple(runs.values()))
    decisions = in_force(reader.decisions())
    items = reader.items(with_values=with_values, with_records=with_records, with_details=with_details)
    found = CurrentFinder(runs, items, decisions)
    found.find(nodes)
    series: dict[str, list[Standing]] = {}
    for node in nodes:
        for name, standing in found.standings[node.name].items():
            series.setdefault(name, []).append(standing)
    return CurrentState(
        nodes,
        {name: SeriesState(name, tuple(made)) for name, made in sorted(series.items())},
        decisions,
    )
