"""What a request would do, without doing it: the true scheduler at work on a copy of the database."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from cryoloom.engine.coordinator.null_listener import NullListener
from cryoloom.engine.coordinator.scheduler import Scheduler
from cryoloom.engine.coordinator.work_queue import nodes_below
from cryoloom.engine.executors.executor import ItemProgress
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.worker.task import Outcome, Task
from cryoloom.store.database import Database
from cryoloom.store.records import ItemRecord

__all__ = ["PlannedNode", "plan_nodes"]


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """What is ahead of one step of a workflow."""

    node: str
    n_there: int
    """Items that are there already: results that will be taken over, series that a source finds."""
    n_now: int
    """Items that can be begun at once."""
    n_later: int
    """Items that wait for these; a step before may still leave some out, or fail."""
    n_unfit: int
    """Items that fail already when they are read, or have no partner."""


def plan_nodes(folder: Path, database: Database, workflow: Workflow) -> tuple[PlannedNode, ...]:
    """Look at what the sources find and at what is recorded; nothing is worked on, nothing written.

    folder : of the project, whose lock the caller holds.
    """
    copy = database.copied_to_memory()
    ear = _Ear()
    try:
        Scheduler(folder, copy, _NoWorkers(), ear).run(workflow)
    finally:
        copy.close()
    later: dict[str, set[str]] = {node.name: set() for node in workflow.steps}
    below = nodes_below(workflow)
    for name, items in ear.now.items():
        for follower in below[name] - {name}:
            wanted = workflow.node(follower).items
            later[follower] |= {item for item in items if not wanted or item in wanted}
    return tuple(
        PlannedNode(
            node.name,
            len(ear.there.get(node.name, ())),
            len(ear.now.get(node.name, ())),
            len(later[node.name] - ear.now.get(node.name, set())),
            len(ear.unfit.get(node.name, set()) - later[node.name]),
        )
        for node in workflow.steps
    )


class _Ear(NullListener):
    """Hears what is taken over, and what a worker would get."""

    def __init__(self) -> None:
        self.there: dict[str, set[str]] = {}
        self.now: dict[str, set[str]] = {}
        self.unfit: dict[str, set[str]] = {}

    def started(self, task: Task) -> None:
        """A worker would take it up."""
        self.now.setdefault(task.node, set()).add(task.item)

    def finished(self, node: str, item: ItemRecord) -> None:
        """It is there, or can never be; what a worker would get comes here as left out."""
        heard = {"done": self.there, "failed": self.unfit}.get(item.state)
        if heard is not None:
            heard.setdefault(node, set()).add(item.name)


class _NoWorkers:
    """Takes every task and leaves it out, so that nothing after it begins."""

    n_slots = 1

    def has_room(self, task: Task) -> bool:
        """Always."""
        return True

    def check(self) -> None:
        """Nobody is there who could be lost."""

    def submit(self, task: Task, progress: ItemProgress) -> Future[Outcome]:
        """Done at once."""
        future: Future[Outcome] = Future()
        future.set_result(Outcome(task=task, value=None, error=None, left_out="dry run"))
        return future

    def close(self) -> None:
        """Nothing."""
