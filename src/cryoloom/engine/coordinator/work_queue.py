"""Queue of tasks: the furthest down the workflow first, and only the newest state of each item.

A series that is still being acquired arrives repeatedly, each time with more tilts. Its newest state replaces
older ones that wait, and it does not start while a worker reads the files that it would replace.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection

from cryoloom.contract import find_step
from cryoloom.contract.step import Gathered, Shared
from cryoloom.engine.graph.workflow import Node, Workflow
from cryoloom.engine.worker.task import Task

__all__ = ["WorkQueue", "nodes_below"]


class WorkQueue:
    """Orders the tasks of one workflow."""

    def __init__(self, workflow: Workflow) -> None:
        self._depth = {node.name: i for i, node in enumerate(workflow.steps)}
        self._below = nodes_below(workflow)
        self._above = {
            name: {other for other, below in self._below.items() if name in below} for name in self._below
        }
        self._collective = {node.name for node in workflow.steps if _is_collective(node)}
        self._waiting: dict[tuple[str, str], Task] = {}
        self._heap: list[tuple[int, int, Task]] = []
        self._counter = itertools.count()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def nodes(self) -> set[str]:
        """Nodes for which tasks wait."""
        return {node for node, _ in self._waiting}

    def above(self, node: str) -> set[str]:
        """Nodes that a node depends on, directly or not; without itself."""
        return self._above[node] - {node}

    def push(self, task: Task) -> None:
        """Add a task."""
        self._waiting[task.node, task.item] = task
        depth = self._depth[task.node]
        # Work ahead, for items that are still growing, comes after all work that can be finished.
        order = len(self._depth) - depth if task.grows else -depth
        heapq.heappush(self._heap, (order, next(self._counter), task))

    def drop(self, node: str, item: str) -> None:
        """Drop waiting tasks of an item at this node and below it: a newer state has arrived."""
        for name in self._below[node]:
            self._waiting.pop((name, item), None)

    def pop(self, running: Collection[Task]) -> Task | None:
        """The next task, or None if no task fits in addition to those that are running."""
        at_work = [(task.node, task.item) for task in running]
        passed_over = []
        found = None
        while self._heap and found is None:
            entry = heapq.heappop(self._heap)
            task = entry[2]
            if self._waiting.get((task.node, task.item)) is not task:
                continue  # a newer state took its place
            if any(self._reads_what_is_made_by(task, *other) for other in at_work):
                passed_over.append(entry)
            else:
                found = task
        for entry in passed_over:
            heapq.heappush(self._heap, entry)
        if found is not None:
            del self._waiting[found.node, found.item]
        return found

    def _reads_what_is_made_by(self, task: Task, node: str, item: str) -> bool:
        """Whether a worker at a node and item may read files that a task would replace."""
        if node not in self._below[task.node]:
            return False
        return item == task.item or any(
            name in self._below[task.node] and node in self._below[name] for name in self._collective
        )

    def awaits_newer(self, node: str, item: str) -> bool:
        """Whether a newer state of an item waits at this node or above it."""
        return any((above, item) in self._waiting for above in self._above[node])


def _is_collective(node: Node) -> bool:
    """Whether a node takes or gives items of several names at once."""
    step = find_step(node.step)
    return (
        step.gathers
        or bool(step.also_gives)
        or any(isinstance(wanted, Gathered | Shared) for wanted in step.also_needs.values())
    )


def nodes_below(workflow: Workflow) -> dict[str, set[str]]:
    """For every node, itself and all that take something from it, directly or not."""
    below: dict[str, set[str]] = {}
    for node in reversed(workflow.steps):
        below[node.name] = {node.name}.union(*(below[f.name] for f, _ in workflow.followers(node.name)))
    return below
