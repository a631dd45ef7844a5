"""What a request would do, without doing it: the true scheduler at work on a copy of the database."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from cryoloom.contract import find_step
from cryoloom.engine.coordinator.input_matching import InputMatcher
from cryoloom.engine.coordinator.null_listener import NullListener
from cryoloom.engine.coordinator.scheduler import Scheduler
from cryoloom.engine.executors.executor import ItemProgress
from cryoloom.engine.graph.workflow import INPUT, Workflow, link_of, validated_params
from cryoloom.engine.worker.task import Outcome, Task
from cryoloom.store.database import Database
from cryoloom.store.decisions import Change, this_user
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


def plan_nodes(
    folder: Path, database: Database, workflow: Workflow, changes: Iterable[Change] = ()
) -> tuple[PlannedNode, ...]:
    """Look at what the sources find and at what is recorded; nothing is worked on, nothing written.

    folder : of the project, whose lock the caller holds. changes : decisions that would be made before.
    """
    copy = database.copied_to_memory()
    copy.decide(changes, this_user())
    ear = _Ear()
    try:
        Scheduler(folder, copy, _NoWorkers(), ear).run(workflow)
    finally:
        copy.close()
    ahead = _ahead(workflow, ear)
    return tuple(
        PlannedNode(
            node.name,
            len(ear.there.get(node.name, ())),
            len(ear.now.get(node.name, ())),
            len(ahead[node.name] - ear.now.get(node.name, set())),
            len(ear.unfit.get(node.name, set()) - ahead[node.name]),
        )
        for node in workflow.steps
    )


def _ahead(workflow: Workflow, ear: _Ear) -> dict[str, set[str]]:
    """Names of the items that every node will work on, now or later.

    What a node would gather now, though more will come to it, does not count.
    """
    matcher = InputMatcher(workflow)
    ahead: dict[str, set[str]] = {}
    gathered: dict[str, set[str]] = {}

    def given(source: str) -> set[str]:
        """Names that an input will get and has not."""
        link = link_of(source)
        if link.run_id is not None or not ahead[link.node]:
            return set()
        return gathered.get(link.node, set()) if link.output else ahead[link.node]

    for node in workflow.steps:
        step, meets = find_step(node.step), matcher.how_inputs_meet(node)
        coming = {role: given(source) for role, source in node.feeds.items()}
        names = set(ear.now.get(node.name, ()))
        if INPUT in coming:
            all_of_input = ear.there.get(link_of(node.feeds[INPUT]).node, set()) | coming[INPUT]
        waits_for_all = any(coming.values()) and matcher.waits_for_the_end(node.name)
        waits_for_shared = any(coming[role] for role, how in meets.items() if how is not None)
        if waits_for_all or waits_for_shared:  # with what is there now it would be another result
            ear.now.pop(node.name, None)
            ear.there.pop(node.name, None)
        if any(coming.values()) and step.gathers:
            names = {step.result_name(validated_params(node))}
        elif waits_for_shared:
            names |= all_of_input
        elif not step.gathers:
            names = names.union(*coming.values())
        if step.gathers and names:
            gathered[node.name] = all_of_input
        ahead[node.name] = names if step.gathers or not node.items else names & set(node.items)
    return ahead


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
