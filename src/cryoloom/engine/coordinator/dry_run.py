"""Effect of a request without executing it: the real scheduler on a copy of the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from cryoloom.contract import find_step
from cryoloom.engine.coordinator.foreseen import foreseen_bytes, foreseen_series
from cryoloom.engine.coordinator.input_matching import InputMatcher
from cryoloom.engine.coordinator.null_listener import NullListener
from cryoloom.engine.coordinator.scheduler import Scheduler
from cryoloom.engine.executors.executor import ItemProgress
from cryoloom.engine.graph.workflow import INPUT, Node, Workflow, link_of, validated_params
from cryoloom.engine.worker.task import Outcome, Task, bytes_needed, load_value
from cryoloom.model import Item, TiltSeries
from cryoloom.store.database import Database
from cryoloom.store.decisions import Change, this_user
from cryoloom.store.records import ItemRecord

__all__ = ["PlannedNode", "plan_nodes"]


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """Planned work of one step of a workflow."""

    node: str
    n_there: int
    """Existing items: results that will be reused, series that a source finds."""
    n_now: int
    """Items that can start at once."""
    n_later: int
    """Items that wait for these; an earlier step may still leave some out, or fail."""
    n_unfit: int
    """Items that already fail when they are read, or have no item of their name in another input."""
    unfit: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Why these fail, by name."""
    memory_bytes: int = field(default=0, compare=False)
    """Largest memory that the step declares for an item; 0 if not known yet."""
    seconds: float | None = field(default=None, compare=False)
    """Seconds of all the work, from the median in this project, or the usual time of the step."""
    seconds_are_usual: bool = field(default=False, compare=False)
    """Whether the project has not run the step yet, so that ``seconds`` is the time on another machine."""
    disk_bytes: int | None = field(default=None, compare=False)
    """Bytes of all the files, estimated in the same way, or as the step declares."""


def plan_nodes(
    folder: Path, database: Database, workflow: Workflow, changes: Iterable[Change] = ()
) -> tuple[PlannedNode, ...]:
    """Check the items of the sources and the records; nothing is processed or written.

    folder : of the project, whose lock the caller holds. changes : decisions to apply before.
    """
    copy = database.copied_to_memory()
    copy.decide(changes, this_user())
    ear = _Ear(folder)
    try:
        Scheduler(folder, copy, _NoWorkers(), ear).run(workflow)
    finally:
        copy.close()
    ahead = _ahead(workflow, ear)
    known = _Experience(database)
    planned = []
    for node in workflow.steps:
        now, all_ahead = ear.now.get(node.name, set()), ahead[node.name] | ear.now.get(node.name, set())
        unfit = {
            name: why for name, why in ear.unfit.get(node.name, {}).items() if name not in ahead[node.name]
        }
        each_seconds, each_bytes = known.of(node.step)
        seconds = None if each_seconds is None else each_seconds * len(all_ahead)
        usual = _usual_seconds(node, all_ahead, ear.series) if seconds is None else None
        disk_bytes = None if each_bytes is None else round(each_bytes * len(all_ahead))
        memory_bytes, declared_bytes = _foreseen(node, [ear.series[n] for n in all_ahead if n in ear.series])
        planned.append(
            PlannedNode(
                node.name,
                len(ear.there.get(node.name, ())),
                len(now),
                len(ahead[node.name] - now),
                len(unfit),
                unfit,
                ear.memory_bytes.get(node.name, 0) or memory_bytes,
                usual if seconds is None else seconds,
                usual is not None,
                declared_bytes if disk_bytes is None else disk_bytes,
            )
        )
    return tuple(planned)


def _foreseen(node: Node, series: list[TiltSeries]) -> tuple[int, int | None]:
    """Memory and bytes on the disk that a step declares for series as they will be; 0 and None if unknown."""
    step = find_step(node.step)
    if step.needs is not TiltSeries or step.gathers or not series:
        return 0, None
    expected, params = [foreseen_series(one) for one in series], validated_params(node)
    memory = foreseen_bytes(step.bytes_needed, expected, params)
    stored = foreseen_bytes(step.bytes_stored, expected, params)
    return max(memory, default=0), sum(stored) if len(stored) == len(series) else None


def _usual_seconds(node: Node, names: set[str], series: Mapping[str, TiltSeries]) -> float | None:
    """Usual seconds of a step on items that come from series of these names; None if not known."""
    usual = find_step(node.step).usual_time
    if usual is None or not names or not names <= set(series):
        return None
    return sum(usual.of_series(foreseen_series(series[name])) for name in names)


class _Experience:
    """Time and bytes per item of every step in this project so far."""

    def __init__(self, database: Database) -> None:
        step_of = {run.id: run.step for run in database.runs()}
        self._made: dict[str, list[ItemRecord]] = {}
        for item in database.items(with_values=False, with_parts=False):
            if item.state == "done" and item.reused_from is None:
                self._made.setdefault(step_of[item.run_id], []).append(item)

    def of(self, step: str) -> tuple[float | None, float | None]:
        """Median seconds of work and bytes of files of an item; None if none was done."""
        made = self._made.get(step)
        if not made:
            return None, None
        return median(item.seconds for item in made), median(
            sum(file.bytes for file in item.files) for item in made
        )


def _ahead(workflow: Workflow, ear: _Ear) -> dict[str, set[str]]:
    """Names of the items that every node will work on, now or later.

    A set that a node would gather now, although more items will come, is not counted.
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
        if waits_for_all or waits_for_shared:  # with the present items it would be another result
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
    """Records reused items, and tasks that a worker would get."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.series: dict[str, TiltSeries] = {}
        """As a source or an earlier step left them, by name."""
        self.there: dict[str, set[str]] = {}
        self.now: dict[str, set[str]] = {}
        self.unfit: dict[str, dict[str, str]] = {}
        self.memory_bytes: dict[str, int] = {}

    def started(self, task: Task) -> None:
        """A worker would start it."""
        self.now.setdefault(task.node, set()).add(task.item)
        self.memory_bytes[task.node] = max(self.memory_bytes.get(task.node, 0), bytes_needed(task))

    def finished(self, node: str, item: ItemRecord) -> None:
        """It exists, or is impossible; a task for a worker arrives here as left out."""
        if item.state == "done":
            self.there.setdefault(node, set()).add(item.name)
            value = None if item.value is None else load_value(item.value, self.project)
            if isinstance(value, Item) and value.own_series is not None:
                self.series[item.name] = value.own_series
        elif item.state == "failed":
            self.unfit.setdefault(node, {})[item.name] = str((item.error or {}).get("message", ""))


class _NoWorkers:
    """Accepts every task and leaves it out, so that nothing after it starts."""

    n_slots = 1

    def has_room(self, task: Task) -> bool:
        """Always."""
        return True

    def check(self) -> None:
        """There are no workers that could be lost."""

    def submit(self, task: Task, progress: ItemProgress) -> Future[Outcome]:
        """Done at once."""
        future: Future[Outcome] = Future()
        future.set_result(Outcome(task=task, value=None, error=None, left_out="dry run"))
        return future

    def close(self) -> None:
        """Nothing."""
