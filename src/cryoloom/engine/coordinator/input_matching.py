"""Work that a node can do: items of one name, one item shared by all, or all items of an input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from cryoloom.contract import find_step
from cryoloom.contract.step import Gathered, Shared
from cryoloom.engine.graph.workflow import INPUT, Node, Workflow, run_id_of, validated_params
from cryoloom.errors import UserInputError
from cryoloom.store.records import ItemRecord

__all__ = ["InputMatcher", "Taken", "WorkItem"]

Taken = ItemRecord | tuple[ItemRecord, ...]
"""Input of one role: an item, or all items, sorted by name."""


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One piece of work of a node, with all its inputs."""

    node: Node
    name: str
    taken: Mapping[str, Taken]
    """By role."""

    @property
    def items(self) -> tuple[ItemRecord, ...]:
        """Every item that goes in, those of the first input first."""
        return tuple(item for taken in self.taken.values() for item in as_tuple(taken))

    @property
    def others(self) -> dict[str, Taken]:
        """Further inputs by role."""
        return {role: taken for role, taken in self.taken.items() if role != INPUT}

    @property
    def input_item_id(self) -> int | None:
        """Id of the one item of the first input."""
        first = self.taken[INPUT]
        return None if isinstance(first, tuple) else first.id

    @property
    def gathered(self) -> tuple[int, ...]:
        """Ids of the items of the first input of a gathering step."""
        first = self.taken[INPUT]
        return tuple(i.id for i in first if i.id is not None) if isinstance(first, tuple) else ()

    @property
    def other_item_ids(self) -> dict[str, int]:
        """Ids of the items of further inputs: by role, or by ``role:name`` where a role has many."""
        return {
            f"{role}:{item.name}" if isinstance(taken, tuple) else role: item.id
            for role, taken in self.others.items()
            for item in as_tuple(taken)
            if item.id is not None
        }


@dataclass
class _Arrivals:
    """Inputs that have arrived at one node."""

    by_name: dict[str, dict[str, ItemRecord]] = field(default_factory=dict)
    """Items of roles that are matched by name: by name and role, until all of a name are there."""
    lasting: dict[str, dict[str, ItemRecord]] = field(default_factory=dict)
    """The item of an earlier run arrives once, that of another input again when its series is reopened."""
    complete: dict[str, dict[str, ItemRecord]] = field(default_factory=dict)
    """The newest complete one, of a node with a shared input: made again when another one arrives."""
    shared: dict[str, ItemRecord] = field(default_factory=dict)
    """By role."""
    gathered: dict[str, dict[str, ItemRecord]] = field(default_factory=dict)
    """By role and name, in the newest state of each."""


class InputMatcher:
    """Stores the inputs of the nodes of a workflow, and determines the items that can be processed."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._arrived = {node.name: _Arrivals() for node in workflow.steps}
        self._meets = {node.name: _how_inputs_meet(node) for node in workflow.steps}
        self.gatherings: set[str] = set()
        """Nodes that wait for the end of their inputs, and have something new."""

    def how_inputs_meet(self, node: Node) -> Mapping[str, type | None]:
        """By role: `Gathered`, `Shared`, or None for the item of the same name."""
        return self._meets[node.name]

    def waits_for_the_end(self, node: str) -> bool:
        """Whether a node starts at the end of its input, rather than item by item."""
        return any(how is Gathered for how in self._meets[node].values())

    def offer(self, node: Node, role: str, item: ItemRecord) -> Iterator[WorkItem]:
        """Add an item; returns the work that the node can do now."""
        arrived, how = self._arrived[node.name], self._meets[node.name][role]
        if node.items and item.name not in node.items and (role == INPUT or how is None):
            return
        if item.id is not None and any(self._meets[node.name].values()):
            # Many wait here; their values would fill the memory, and are read again when needed.
            item = replace(item, value=None, records={})
        if how is Gathered:
            arrived.gathered.setdefault(role, {})[item.name] = item
        elif how is Shared:
            self._share(node, role, item)
        else:
            self._pair(node, role, item)
        if self.waits_for_the_end(node.name):
            self.gatherings.add(node.name)
        elif how is Shared:
            for name in list(arrived.complete):
                yield from self._ready(node, name)
        else:
            yield from self._ready(node, item.name)

    def _share(self, node: Node, role: str, item: ItemRecord) -> None:
        before = self._arrived[node.name].shared.get(role)
        if before is not None and before.name != item.name:
            raise UserInputError(
                f"step {node.name} takes one item as {role}, the same for all, but {node.feeds[role]} gives "
                f"{before.name} and {item.name}; choose one with `items:` in the step before"
            )
        self._arrived[node.name].shared[role] = item

    def _pair(self, node: Node, role: str, item: ItemRecord) -> None:
        """Keep an item until those of its name have come by the other roles."""
        arrived, name = self._arrived[node.name], item.name
        if run_id_of(node.feeds[role]) is not None:
            arrived.lasting.setdefault(name, {})[role] = item
        paired = arrived.by_name.setdefault(name, dict(arrived.lasting.get(name, {})))
        paired[role] = item
        roles = [role for role, how in self._meets[node.name].items() if how is None]
        if len(paired) == len(roles):
            arrived.complete[name] = arrived.by_name.pop(name)

    def _ready(self, node: Node, name: str) -> Iterator[WorkItem]:
        """The item of a name, if all is there that it needs."""
        arrived = self._arrived[node.name]
        n_shared = sum(how is Shared for how in self._meets[node.name].values())
        if name in arrived.complete and len(arrived.shared) == n_shared:
            paired = arrived.complete[name] if n_shared else arrived.complete.pop(name)
            yield _work(node, name, {**paired, **arrived.shared})

    def gather(self, node: Node) -> Iterator[WorkItem]:
        """Work of a node that waits for the end of its input, with the items so far."""
        self.gatherings.discard(node.name)
        arrived, meets = self._arrived[node.name], self._meets[node.name]
        common: dict[str, Taken] = dict(arrived.shared)
        for role, items in arrived.gathered.items():
            if items:
                common[role] = tuple(items[name] for name in sorted(items))
        if meets[INPUT] is Gathered:
            if len(common) == len(meets):
                name = find_step(node.step).result_name(validated_params(node))
                yield _work(node, name, common)
            return
        n_common = sum(how is not None for how in meets.values())
        if len(common) == n_common:
            for name, paired in sorted(arrived.complete.items()):
                yield _work(node, name, {**paired, **common})

    def forget(self, node: str, item: ItemRecord) -> None:
        """An item has a new state: earlier results of it are no longer gathered."""
        for follower, role in self._workflow.followers(node):
            items = self._arrived[follower.name].gathered.get(role, {})
            gone = [
                name
                for name, one in items.items()
                if name == item.name or (one.part_of is not None and one.part_of == item.id)
            ]
            for name in gone:
                del items[name]
                self.gatherings.add(follower.name)

    def gathered_names(self, node: str) -> set[str]:
        """Names of the items that a gathering node has."""
        return set(self._arrived[node].gathered.get(INPUT, {}))

    def waiting(self) -> Iterator[tuple[Node, str, ItemRecord, list[str]]]:
        """Items that still wait: the node, the name, the item, and the roles without an item."""
        for node in self._workflow.steps:
            arrived, meets = self._arrived[node.name], self._meets[node.name]
            no_shared = [role for role, how in meets.items() if how is Shared and role not in arrived.shared]
            no_shared += [
                role for role, how in meets.items() if how is Gathered and not arrived.gathered.get(role)
            ]
            if meets.get(INPUT) is Gathered and no_shared and arrived.gathered.get(INPUT):
                first = min(arrived.gathered[INPUT].values(), key=lambda item: item.name)
                name = find_step(node.step).result_name(validated_params(node))
                yield node, name, first, no_shared
            for name, paired in arrived.by_name.items():
                if INPUT in paired:
                    yield node, name, paired[INPUT], [role for role in node.links if role not in paired]
            if no_shared:
                for name, paired in arrived.complete.items():
                    yield node, name, paired[INPUT], no_shared


def _work(node: Node, name: str, taken: Mapping[str, Taken]) -> WorkItem:
    return WorkItem(node, name, {role: taken[role] for role in node.feeds})


def as_tuple(taken: Taken) -> tuple[ItemRecord, ...]:
    """Items for one role, as a tuple: the gathered ones, or the single one."""
    return taken if isinstance(taken, tuple) else (taken,)


def _how_inputs_meet(node: Node) -> dict[str, type | None]:
    """For every role: `Gathered`, `Shared`, or None for the item of the same name."""
    step = find_step(node.step)
    meets: dict[str, type | None] = {}
    for role in node.feeds:
        wanted = step.also_needs.get(role)
        if role == INPUT:
            meets[role] = Gathered if step.gathers else None
        elif isinstance(wanted, Shared | Gathered):
            meets[role] = type(wanted)
        else:
            meets[role] = Shared if step.gathers else None
    return meets
