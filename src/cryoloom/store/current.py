"""The current result of every item: the newest one that satisfies the present parameters and decisions.

Computed from the database alone (decision 18). Whether a result is current follows from its parameters, the
keys of its inputs, and the decisions that were applied, all of which are stored with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cryoloom.store.current_nodes import INPUT, CurrentNode, current_nodes
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

State = Literal["current", "outdated", "pending", "failed", "left_out"]


@dataclass(frozen=True)
class Standing:
    """State of an item at a node."""

    node: str
    state: State
    run: RunRecord | None = None
    item: ItemRecord | None = None
    """The current item; for an outdated one, the newest there is."""
    why: str = ""
    """Why it is outdated, pending or left out, or its first error."""
    is_shown: bool = True
    """Whether the item was made from the items shown for the nodes before; else from an earlier chain."""


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


def tilt_decisions_of(decisions: Iterable[Decision]) -> dict[str, list[list[Any]]]:
    """Decisions on tilts by series, as stored with an item: index, whether it is kept, reason."""
    by_series: dict[str, list[list[Any]]] = {}
    for one in decisions:
        if one.kind == "tilt":
            by_series.setdefault(one.item, []).append([int(one.target), bool(one.value["keep"]), one.why])
    return {series: sorted(decided) for series, decided in by_series.items()}


def own_parameters_of(decisions: Iterable[Decision]) -> dict[tuple[str, str], dict[str, Any]]:
    """Parameters that users set for single series, by series and node."""
    own: dict[tuple[str, str], dict[str, Any]] = {}
    for one in decisions:
        node, _, parameter = one.target.partition(".")
        if one.kind == "parameter" and parameter:
            own.setdefault((one.item, node), {})[parameter] = one.value
    return own


def current_state(
    reader: Reader, *, with_values: bool = False, with_records: bool = False, with_details: bool = True
) -> CurrentState:
    """State of every item of a project; arguments as of `Reader.items`."""
    runs = {run.id: run for run in reader.runs()}
    nodes = current_nodes(reader.plans(), tuple(runs.values()))
    decisions = in_force(reader.decisions())
    items = reader.items(with_values=with_values, with_records=with_records, with_details=with_details)
    found = _Finder(runs, items, decisions)
    for node in nodes:
        found.look_at(node)
    series: dict[str, list[Standing]] = {}
    for node in nodes:
        for name, standing in found.standings[node.name].items():
            series.setdefault(name, []).append(standing)
    return CurrentState(
        nodes,
        {name: SeriesState(name, tuple(made)) for name, made in sorted(series.items())},
        decisions,
    )


class _Finder:
    """Finds, node by node, the current item of every name."""

    def __init__(
        self, runs: Mapping[int, RunRecord], items: Sequence[ItemRecord], decisions: Sequence[Decision]
    ) -> None:
        self._runs, self._decisions = runs, decisions
        self._tilts = tilt_decisions_of(decisions)
        self._own = own_parameters_of(decisions)
        self._left_out = {
            one.item: one for one in decisions if one.kind == "series" and not one.value["keep"]
        }
        self._candidates: dict[tuple[str, str], list[ItemRecord]] = {}
        self._parts: dict[int, list[ItemRecord]] = {}
        for item in items:
            if item.part_of is None:
                self._candidates.setdefault((runs[item.run_id].node, item.name), []).append(item)
            elif item.state == "done":
                self._parts.setdefault(item.part_of, []).append(item)
        self._names: dict[str, list[str]] = {}
        for node, name in self._candidates:
            self._names.setdefault(node, []).append(name)
        self.standings: dict[str, dict[str, Standing]] = {}

    def look_at(self, node: CurrentNode) -> None:
        """Find the states at a node whose feeding nodes are done."""
        if not node.feeds:
            found = {name: self._of_source(node, name) for name in self._names.get(node.name, [])}
            self.standings[node.name] = {name: one for name, one in found.items() if one is not None}
            return
        given = {role: self._given(*source) for role, source in node.feeds.items()}
        is_gathering = any(
            item.gathered
            for name in self._names.get(node.name, [])
            for item in self._candidates[node.name, name]
        )
        names: Iterable[str] = given[INPUT]
        if is_gathering:
            names = self._names[node.name]
        elif node.items:
            names = [name for name in names if name in node.items]
        self.standings[node.name] = {name: self._standing(node, name, given, is_gathering) for name in names}

    def _of_source(self, node: CurrentNode, name: str) -> Standing | None:
        mine = [item for item in self._candidates[node.name, name] if item.run_id == node.run_id]
        if not mine or (node.items and name not in node.items):
            return None
        item = mine[-1]
        run = self._runs[item.run_id]
        if item.state == "done" and (decided := self._left_out.get(name)) is not None:
            by = f"left out by {decided.who}" + (f": {decided.why}" if decided.why else "")
            return Standing(node.name, "left_out", run, item, by)
        return Standing(node.name, _STATES[item.state], run, item, _why(item))

    def _given(self, node: str, output: str) -> _Given:
        """What a node gives by an output, by name."""
        given: dict[str, _Gift] = {}
        for name, standing in self.standings.get(node, {}).items():
            if standing.state in {"failed", "left_out"}:
                continue
            item = standing.item
            parts = [] if item is None else self._parts.get(item.id or 0, [])
            parts = [part for part in parts if part.output == output]
            is_current = standing.state == "current"
            if parts:
                given |= {part.name: _gift(part, is_current, standing.is_shown) for part in parts}
            elif not output:
                given[name] = _gift(item, is_current, standing.is_shown)
        return given

    def _standing(
        self,
        node: CurrentNode,
        name: str,
        given: Mapping[str, _Given],
        is_gathering: bool,
    ) -> Standing:
        candidates = [
            item
            for item in self._candidates.get((node.name, name), [])
            if self._runs[item.run_id].step == node.step
        ]
        candidates.sort(key=lambda item: (item.run_id == node.run_id, item.started is not None, item.started))
        reasons = [(item, self._misfit(node, item, given, is_gathering)) for item in reversed(candidates)]
        fitting = [item for item, why in reasons if not why]
        fitting.sort(key=lambda item: item.state == "failed")  # the same work may have succeeded and failed
        if fitting:
            item = fitting[0]
            return Standing(node.name, _STATES[item.state], self._runs[item.run_id], item, _why(item))
        waits = any(not taken[name].key for taken in given.values() if name in taken)
        if not reasons:
            return Standing(
                node.name, "pending", why="waits for the step before" if waits else "not made yet"
            )
        item, why = next(((one, why) for one, why in reasons if _belongs(one, given)), reasons[0])
        is_shown = _belongs(item, given)
        state: State = "pending" if item.state == "failed" and waits else "outdated"
        why = "waits for the step before" if state == "pending" else why
        return Standing(node.name, state, self._runs[item.run_id], item, why, is_shown)

    def _misfit(
        self,
        node: CurrentNode,
        item: ItemRecord,
        given: Mapping[str, _Given],
        is_gathering: bool,
    ) -> str:
        """Why an item is not the requested one; "" if it is."""
        wanted = self._runs.get(node.run_id or 0)
        if wanted is None:
            return "requested again"
        parameters = {**wanted.parameters, **self._own.get((item.name, node.name), {})}
        if {**self._runs[item.run_id].parameters, **item.own_parameters} != parameters:
            return "other parameters are requested"
        if item.made_from is None:  # of an older version: valid unless something was decided since
            own = [one for one in self._decisions if one.item == item.name and one.kind == "tilt"]
            if item.started is not None and any(one.when > item.started for one in own):
                return "decisions are not applied yet"
            fed = given[INPUT].get(item.name)
            is_fed = is_gathering or (fed is not None and fed.key != "")
            return "" if is_fed else "the step before is made anew"
        for role, taken in item.made_from["inputs"].items():
            now = given.get(role, {})
            if is_gathering and role == INPUT and set(taken) != {n for n, one in now.items() if one.key}:
                return "other items are there now"
            if any(n not in now or now[n].key != key for n, key in taken.items()):
                return "the step before is made anew"
        applied = item.made_from["decisions"]
        if applied is not None and applied != {
            n: self._tilts[n] for n in self._named(item) if n in self._tilts
        }:
            return "decisions are not applied yet"
        return ""

    @staticmethod
    def _named(item: ItemRecord) -> set[str]:
        """Names of all items that are inputs."""
        inputs = (item.made_from or {})["inputs"]
        return {name for taken in inputs.values() for name in taken}


@dataclass(frozen=True)
class _Gift:
    """Input of a node: the key of its content if that is current, and key and id of what is shown."""

    key: str
    shown_key: str
    shown_id: int | None


_Given = Mapping[str, _Gift]


def _gift(item: ItemRecord | None, is_current: bool, is_shown: bool) -> _Gift:
    if item is None:
        return _Gift("", "", None)
    key = _content_key(item)
    return _Gift(key if is_current else "", key if is_shown else "", item.id if is_shown else None)


def _belongs(item: ItemRecord, given: Mapping[str, _Given]) -> bool:
    """Whether an item was made from the items shown for the nodes before it."""
    if item.made_from is None:  # of an older version
        shown = {one.shown_id for taken in given.values() for one in taken.values()}
        return item.input_item_id in shown
    return all(
        name in given.get(role, {}) and given[role][name].shown_key == key
        for role, taken in item.made_from["inputs"].items()
        for name, key in taken.items()
    )


_STATES: dict[str, State] = {"done": "current", "failed": "failed", "left_out": "left_out"}


def _content_key(item: ItemRecord) -> str:
    """Key of an item's content: a step that only selects items passes its input on."""
    return str((item.made_from or {}).get("content", item.key))


def _why(item: ItemRecord) -> str:
    if item.error is None:
        return item.reason
    facts = ", ".join(f"{name}={value}" for name, value in item.error.get("facts", {}).items())
    return f"{item.error['message']} ({facts})" if facts else str(item.error["message"])
