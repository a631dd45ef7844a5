"""Finds, node by node, the current item of every name, and what of it changes with an item or a decision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cryoloom.store.current_nodes import INPUT, CurrentNode
from cryoloom.store.decisions import Decision
from cryoloom.store.records import ItemRecord, RunRecord, sentence

__all__ = ["CurrentFinder", "Standing", "State", "own_parameters_of", "tilt_decisions_of"]

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


class CurrentFinder:
    """Finds the current item of every name at every node, and again where something changed."""

    def __init__(
        self, runs: Mapping[int, RunRecord], items: Iterable[ItemRecord], decisions: Iterable[Decision]
    ) -> None:
        self._runs = runs
        self._decided: dict[str, Sequence[Decision]] = {}
        self._tilts: dict[str, list[list[Any]]] = {}
        self._own: dict[str, dict[str, dict[str, Any]]] = {}
        self._left_out: dict[str, Decision] = {}
        self._items: dict[int, ItemRecord] = {}
        self._candidates: dict[tuple[str, str], list[ItemRecord]] = {}
        self._parts: dict[int, list[ItemRecord]] = {}
        self._names: dict[str, dict[str, None]] = {}
        self._gathering: set[str] = set()
        self._users: dict[str, set[str]] = {}
        """Names of items that were made from items of another name, by that name."""
        self._gifts: dict[tuple[str, str], _Gifts] = {}
        self.standings: dict[str, dict[str, Standing]] = {}
        by_item: dict[str, list[Decision]] = {}
        for one in decisions:
            by_item.setdefault(one.item, []).append(one)
        for name, decided in by_item.items():
            self._decide(name, decided)
        for item in items:
            self._add(item)

    def find(self, nodes: Sequence[CurrentNode]) -> None:
        """Find the states at all nodes, in their order."""
        for node in nodes:
            self._look_at(node, None)

    def update(
        self,
        nodes: Sequence[CurrentNode],
        items: Mapping[int, ItemRecord | None],
        decisions: Mapping[str, Sequence[Decision]],
    ) -> set[str] | None:
        """Apply changed items and decisions; returns the names whose state may have changed.

        items : by id; None for deleted ones. decisions : those that apply, by item, of all items for which
        these changed. Nodes and runs are the same as before. Returns None where all must be found anew; the
        finder is of no use then.
        """
        gathering = set(self._gathering)
        dirty = set(decisions)
        for item_id, item in items.items():
            dirty |= self._replace(item_id, item)
        for name, decided in decisions.items():
            self._decide(name, decided)
        if self._gathering != gathering:
            return None
        dirty |= self._users_of(dirty)
        for node in nodes:
            changed = self._look_at(node, dirty)
            dirty |= changed | self._users_of(changed)
        return None if any(gifts.is_ambiguous for gifts in self._gifts.values()) else dirty

    def _users_of(self, names: Iterable[str]) -> set[str]:
        return {user for name in names for user in self._users.get(name, ())}

    def _decide(self, name: str, decided: Sequence[Decision]) -> None:
        """Set the decisions that apply to an item; they replace the earlier ones."""
        for known in (self._decided, self._tilts, self._own, self._left_out):
            known.pop(name, None)
        self._decided[name] = decided
        self._tilts |= tilt_decisions_of(decided)
        self._own[name] = {node: own for (_, node), own in own_parameters_of(decided).items()}
        for one in decided:
            if one.kind == "series" and not one.value["keep"]:
                self._left_out[name] = one

    def _add(self, item: ItemRecord) -> None:
        """Add an item after those that were added before."""
        node = self._runs[item.run_id].node
        self._items[item.id or 0] = item
        if item.part_of is None:
            self._candidates.setdefault((node, item.name), []).append(item)
            self._names.setdefault(node, {})[item.name] = None
            if item.gathered:
                self._gathering.add(node)
        elif item.state == "done":
            self._parts.setdefault(item.part_of, []).append(item)
        for name in _named(item) - {item.name}:
            self._users.setdefault(name, set()).add(item.name)

    def _replace(self, item_id: int, item: ItemRecord | None) -> set[str]:
        """Take an item in the place of the one with its id; returns the names that this concerns."""
        concerned = set()
        before = self._items.pop(item_id, None)
        if before is not None:
            node = self._runs[before.run_id].node
            siblings = (
                self._candidates.get((node, before.name), [])
                if before.part_of is None
                else self._parts.get(before.part_of, [])
            )
            siblings[:] = [one for one in siblings if one.id != item_id]
            concerned |= self._concerned(before)
        if item is not None:
            self._add(item)
            node = self._runs[item.run_id].node
            for siblings in (
                self._candidates.get((node, item.name), []),
                self._parts.get(item.part_of or 0, []),
            ):
                siblings.sort(key=_place)
            concerned |= self._concerned(item)
        return concerned

    def _concerned(self, item: ItemRecord) -> set[str]:
        owner = self._items.get(item.part_of or 0)
        return {item.name} | (set() if owner is None else {owner.name})

    def _look_at(self, node: CurrentNode, dirty: set[str] | None) -> set[str]:
        """Find the states at a node whose feeding nodes are done, of all names or of some.

        Returns the names for which something else than before is given to later nodes.
        """
        before = self.standings.get(node.name, {})
        found = self._found(node, dirty)
        if dirty is None:
            self.standings[node.name] = {name: one for name, one in found.items() if one is not None}
            return set()
        self.standings[node.name] = before
        changed = {name for name, one in found.items() if one != before.get(name)}
        for name, one in found.items():
            if one is None:
                before.pop(name, None)
            else:
                before[name] = one
        for (giver, output), gifts in self._gifts.items():
            if giver == node.name:
                for name in found.keys() | dirty:
                    changed |= gifts.put(name, self._given_by(giver, output, name))
        return changed

    def _found(self, node: CurrentNode, dirty: set[str] | None) -> dict[str, Standing | None]:
        """States at a node of all names or of some; None where a name is not there."""
        there = self._names.get(node.name, {})
        if not node.feeds:
            names = there if dirty is None else dirty
            return {name: self._of_source(node, name) for name in names}
        given = {role: self._given(*source) for role, source in node.feeds.items()}
        if node.name in self._gathering:
            return {name: self._standing(node, name, given, is_gathering=True) for name in there}
        wanted = given[INPUT] if not node.items else {name: 0 for name in given[INPUT] if name in node.items}
        return {
            name: self._standing(node, name, given, is_gathering=False) if name in wanted else None
            for name in (wanted if dirty is None else dirty)
        }

    def _of_source(self, node: CurrentNode, name: str) -> Standing | None:
        there = self._candidates.get((node.name, name), [])
        mine = [item for item in there if item.run_id == node.run_id]
        if not mine or (node.items and name not in node.items):
            return None
        item = mine[-1]
        run = self._runs[item.run_id]
        if item.state == "done" and (decided := self._left_out.get(name)) is not None:
            by = f"left out by {decided.who}" + (f": {decided.why}" if decided.why else "")
            return Standing(node.name, "left_out", run, item, by)
        return Standing(node.name, _STATES[item.state], run, item, _why(item))

    def _given(self, node: str, output: str) -> _Given:
        """Items that a node gives by an output, by name."""
        gifts = self._gifts.get((node, output))
        if gifts is None:
            gifts = self._gifts[node, output] = _Gifts()
            for name in self.standings.get(node, {}):
                gifts.put(name, self._given_by(node, output, name))
        return gifts.by_name

    def _given_by(self, node: str, output: str, name: str) -> dict[str, _Gift]:
        """Items that the work on one item gives by an output, by name."""
        standing = self.standings.get(node, {}).get(name)
        if standing is None or standing.state in {"failed", "left_out"}:
            return {}
        item = standing.item
        parts = [] if item is None else self._parts.get(item.id or 0, [])
        parts = [part for part in parts if part.output == output]
        is_current = standing.state == "current"
        if parts:
            return {part.name: _gift(part, is_current, standing.is_shown) for part in parts}
        return {} if output else {name: _gift(item, is_current, standing.is_shown)}

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
        parameters = {**wanted.parameters, **self._own.get(item.name, {}).get(node.name, {})}
        if {**self._runs[item.run_id].parameters, **item.own_parameters} != parameters:
            return "other parameters are requested"
        if item.made_from is None:  # of an older version: valid unless something was decided since
            own = [one for one in self._decided.get(item.name, ()) if one.kind == "tilt"]
            if item.started is not None and any(one.when > item.started for one in own):
                return "decisions are not applied yet"
            fed = given[INPUT].get(item.name)
            is_fed = is_gathering or (fed is not None and fed.key != "")
            return "" if is_fed else "the previous step is recomputed"
        for role, taken in item.made_from["inputs"].items():
            now = given.get(role, {})
            if is_gathering and role == INPUT and set(taken) != {n for n, one in now.items() if one.key}:
                return "other items are there now"
            if any(n not in now or now[n].key != key for n, key in taken.items()):
                return "the previous step is recomputed"
        applied = item.made_from["decisions"]
        if applied is not None and applied != {n: self._tilts[n] for n in _named(item) if n in self._tilts}:
            return "decisions are not applied yet"
        return ""


def _named(item: ItemRecord) -> set[str]:
    """Names of all items that are inputs; none are known of an item of an older version."""
    inputs = {} if item.made_from is None else item.made_from["inputs"]
    return {name for taken in inputs.values() for name in taken}


def _place(item: ItemRecord) -> tuple[int, str, str]:
    """Order in which items are read."""
    return item.run_id, item.output, item.name


@dataclass(frozen=True)
class _Gift:
    """Input of a node: the key of its content if it is current, and key and id of the item that is shown."""

    key: str
    shown_key: str
    shown_id: int | None


_Given = Mapping[str, _Gift]


@dataclass
class _Gifts:
    """Items that a node gives by an output, and the items from which they were made."""

    by_name: dict[str, _Gift] = field(default_factory=dict)
    of_owner: dict[str, tuple[str, ...]] = field(default_factory=dict)
    is_ambiguous: bool = False
    """Whether two items gave the same name: which of them counts cannot be followed."""

    def put(self, owner: str, given: Mapping[str, _Gift]) -> set[str]:
        """Set the items that one item gives; they replace the earlier ones. Returns the names that differ."""
        before = {name: self.by_name.pop(name, None) for name in self.of_owner.pop(owner, ())}
        self.is_ambiguous |= any(name in self.by_name for name in given)
        self.by_name |= given
        if given:
            self.of_owner[owner] = tuple(given)
        return {name for name in before.keys() | given.keys() if before.get(name) != given.get(name)}


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
    return sentence(item.error) or item.reason
