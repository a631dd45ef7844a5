"""The scheduler's loop: every item proceeds once its inputs exist, and a failure does not stop the others."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from cryoloom.contract import find_step
from cryoloom.engine.coordinator.cleaned_inputs import CleanedInputs
from cryoloom.engine.coordinator.disk_budget import DiskBudget, DiskPolicy
from cryoloom.engine.coordinator.input_matching import InputMatcher, WorkItem
from cryoloom.engine.coordinator.moved_raw_data import found_or_recorded
from cryoloom.engine.coordinator.planner import N_EXPECTED, Planner
from cryoloom.engine.coordinator.requests import asked_to_gather
from cryoloom.engine.coordinator.sources import OpenSource, source_items
from cryoloom.engine.coordinator.work_queue import WorkQueue
from cryoloom.engine.executors.executor import Executor
from cryoloom.engine.graph.workflow import INPUT, Node, Workflow, link_of, run_id_of
from cryoloom.engine.worker.partial_results import forget_partial_results
from cryoloom.engine.worker.task import STOP_FILE, Outcome, PartValue, StepInterrupted, Task, describe_error
from cryoloom.errors import DataUnfitError, TransientError, UserInputError
from cryoloom.store.codec import fingerprint
from cryoloom.store.database import Database
from cryoloom.store.records import ItemRecord

__all__ = ["GROWING", "STOP_FILE", "Listener", "Scheduler", "Summary"]

GROWING = "growing"
"""State of an item that is still growing: it is never recorded."""
_TURN_SECONDS = 0.2
"""Longest wait of the loop before it checks live sources and the stop file again."""
_MOST_NAMES = 20
"""Largest number of items that a warning names."""


class Listener(Protocol):
    """An observer: the command line, a web page, a test. It is called from workers, so it must be fast."""

    def planned(self, workflow: Workflow) -> None:
        """The work begins."""

    def progress(self, task: Task, done: int, total: int) -> None:
        """A step reports its progress."""

    def started(self, task: Task) -> None:
        """A worker starts an item."""

    def finished(self, node: str, item: ItemRecord) -> None:
        """An item is recorded: done, failed or left out, made or reused."""

    def processed_ahead(self, outcome: Outcome) -> None:
        """Prefetched work for an item that is still growing has ended or failed."""


@dataclass
class Summary:
    """How a workflow ended."""

    n_done: int = 0
    n_reused: int = 0
    failed: list[ItemRecord] = field(default_factory=list)
    left_out: list[ItemRecord] = field(default_factory=list)
    stopped: bool = False


@dataclass
class Scheduler:
    """Runs a workflow on a project with an executor. The only writer of the database."""

    project: Path
    database: Database
    executor: Executor
    listener: Listener
    open_source: OpenSource = source_items
    """How the items of a source node come: all at once, or live (`sources.OpenSource`)."""
    coordinator: str = ""
    """Name of the project's lock under which this runs."""
    plan_id: int | None = None
    """The plan that stores which runs its nodes have."""
    disk: DiskPolicy | None = None
    """Disk budget of the project; None if nothing will be written."""
    with_own_parameters: bool = True
    """Whether parameters that users set for single series apply."""

    def run(self, workflow: Workflow) -> Summary:
        """Process all items; returns when there is no more work, or when stopped."""
        self._workflow, self._summary = workflow, Summary()
        for run in self.database.runs():
            if run.state == "running":  # its coordinator died: this one holds the lock
                self.database.end_run(run.id, "stopped")
        self._planner = Planner(
            self.project,
            self.database,
            workflow,
            self.coordinator,
            plan_id=self.plan_id,
            with_own_parameters=self.with_own_parameters,
        )
        self._inputs = InputMatcher(workflow)
        self._key_of = self.database.known_keys()
        self._known_keys = set(self._key_of.values())
        self._queue = WorkQueue(workflow)
        disk = self.disk
        self._budget = None if disk is None else DiskBudget(self.project, self.database, disk)
        self._cleaned = CleanedInputs(self.project, self.database)
        self._growing: set[str] = set()
        """Items of live sources that are not complete."""
        self._counted: set[tuple[str, str]] = set()
        """Node and name of the items that the summary counts as done."""
        self._lost_before: list[ItemRecord] = []
        """Failures and items left out in earlier runs that feed this workflow."""
        running: dict[Future[Outcome], Task] = {}
        self.listener.planned(workflow)
        try:
            self._sources = self._open_sources()
            while True:
                if (self.project / STOP_FILE).exists():
                    self._summary.stopped = True
                    break
                self.executor.check()
                self._look_at_sources()
                self._gather(running.values())
                while len(running) < self.executor.n_slots and (task := self._next_task(running.values())):
                    if not (self.executor.has_room(task) and self._has_disk(task, running.values())):
                        self._queue.push(task)
                        break
                    self._withdraw_older(task)
                    self.listener.started(task)
                    running[self.executor.submit(task, self.listener.progress)] = task
                if not (running or self._queue or self._sources or self._gather(())):
                    break
                for future in _wait(running):
                    del running[future]
                    self._record(future.result())
        except KeyboardInterrupt:
            self._summary.stopped = True
        finally:
            self._finish(running)
        return self._summary

    def _has_disk(self, task: Task, running: Collection[Task]) -> bool:
        """Whether the output of a task fits on the disk; if it never can, the work stops here."""
        try:
            return self._budget is None or self._budget.has_room(task, running)
        except TransientError:
            self._summary.stopped = True
            raise

    def _open_sources(self) -> list[Source]:
        """Where this workflow's items come from, in its order."""
        sources = []
        for node in self._workflow.steps:
            if node.input is None:
                run = self._planner.run_of(node)
                items = self.open_source(node, run, self.project)
                if self.open_source is source_items:  # a live source reports its own items
                    items = found_or_recorded(items, run.id, self.database, self.project, node.items)
                sources.append(Source(node, INPUT, items))
            for role, source in node.feeds.items():
                link = link_of(source)
                if link.run_id is None:
                    continue
                known = self._results_of(link.run_id, link.output)
                sources.append(Source(node, role, iter(known)))
        return sources

    def _runs_above(self, node: Node) -> set[int]:
        """Ids of the runs that a node depends on, directly or not, as far as they were begun."""
        runs = self._planner.runs
        return {runs[name].id for name in self._queue.above(node.name) if name in runs}

    def _results_of(self, run_id: int, output: str) -> list[ItemRecord]:
        """Items of one output of an earlier run; without its failures."""
        recorded = self.database.items(run_id, with_values=False)
        self._lost_before += [item for item in recorded if item.state != "done"]
        known = [item for item in recorded if item.state == "done" and item.output == output]
        fanned_out = {item.part_of for item in known if item.part_of is not None}
        known = [item for item in known if item.id not in fanned_out]
        if gone := self._cleaned.missing_of(known):
            node = next(run.node for run in self.database.runs() if run.id == run_id)
            raise UserInputError(
                f"images of {', '.join(gone[:_MOST_NAMES])} that run {run_id} ({node}) gave were removed by "
                f"`cryoloom clean`; make them again with `cryoloom resume --remake {node}`"
            )
        if not known:
            raise UserInputError(f"run {run_id} has no finished items to work on")
        return known

    def _let_in(self, source: Source) -> bool:
        """Admit one more item, if the source has one; a source that ended is removed."""
        try:
            item = next(source.items)
        except StopIteration:
            self._sources.remove(source)
            return False
        if item is None:
            source.is_live = True
            return False
        if item.state == GROWING:
            self._growing.add(item.name)
            self._grown(source.node.name, item)
            return True
        self._growing.discard(item.name)
        if source.node.input is None:
            known = self._recorded_before(item)
            self._recorded(source.node.name, known or item, write=known is None)
        elif not self._planner.is_left_out(item.name):
            self._offer(source.node, source.role, item)
        return True

    def _recorded_before(self, item: ItemRecord) -> ItemRecord | None:
        """The same item of a source, if it is recorded unchanged in the database."""
        if item.state != "done" or self._key_of.get((item.run_id, item.name)) != item.key:
            return None
        known = self.database.find_result(item.key)
        return replace(item, id=known.id) if known and known.run_id == item.run_id else None

    def _look_at_sources(self) -> None:
        """Take one item of each source, and all that a live one has, even while every worker is busy.

        A live source is known by its first None; its items are recorded within a turn.
        """
        for source in list(self._sources):
            while self._let_in(source) and source.is_live:
                pass

    def _next_task(self, running: Collection[Task]) -> Task | None:
        """The task furthest down the workflow; new items are admitted when nothing else can start."""
        while (task := self._queue.pop(running)) is None:
            if not any(self._let_in(source) for source in list(self._sources)):
                return None
        return task

    def _offer(self, node: Node, role: str, item: ItemRecord) -> None:
        """Queue the work that a node can do after an item has arrived."""
        for work in self._inputs.offer(node, role, item):
            self._enqueue(work)

    def _gather(self, running: Collection[Task]) -> bool:
        """Queue the work of nodes whose inputs are complete, or which the user requests."""
        has_begun = False
        for node in self._workflow.steps:
            if node.name not in self._inputs.gatherings:
                continue
            above = self._queue.above(node.name)
            busy = {task.node for task in running} | self._queue.nodes | self._inputs.gatherings
            fed = {source.node.name for source in self._sources}
            if asked_to_gather(self.project, node.name) or not (busy & above or fed & (above | {node.name})):
                for work in self._inputs.gather(node):
                    self._enqueue(work, self._absent(node))
                    has_begun = True
        return has_begun

    def _absent(self, node: Node) -> str:
        """A warning that names the items which failed or were left out before a gathering node."""
        above = self._runs_above(node)
        above |= {run_id for source in node.feeds.values() if (run_id := run_id_of(source)) is not None}
        lost = (*self._summary.failed, *self._summary.left_out, *self._lost_before)
        there = self._inputs.gathered_names(node.name)
        names = sorted({item.name for item in lost if item.run_id in above} - there)
        if not names or not find_step(node.step).gathers:
            return ""
        named = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
        return f"{len(names)} of {len(names) + len(there)} items failed or were left out before: {named}"

    def _grown(self, node: str, item: ItemRecord) -> None:
        """Queue what can be processed of an item that is still growing; nothing is recorded of it."""
        for follower, role in self._workflow.followers(node):
            wanted = not follower.items or item.name in follower.items
            if wanted and role == INPUT and find_step(follower.step).ahead is not None:
                self._queue.drop(follower.name, item.name)
                self._queue.push(self._planner.growing_task(follower, item))

    def _enqueue(self, work: WorkItem, absent: str = "") -> None:
        """Queue a piece of work, or reuse the result of an earlier run with the same key."""
        node, run = work.node, self._planner.run_of(work.node)
        key = self._planner.key(work)
        self._queue.drop(node.name, work.name)
        known = self.database.find_result(key) if key in self._known_keys else None
        if known is not None and self._cleaned.lacks_for_good(known, run.id):
            known = None
        if known is None:
            waits, first = self._cleaned.needed_by(work)
            for one in first:
                self._queue.push(self._planner.task(one, self._planner.key(one)))
            if not waits:
                self._queue.push(self._planner.task(work, key, absent))
            return
        self._cleaned.note(known, work)
        own = known.run_id == run.id
        taken = replace(known, reused_from=known.id) if own else _taken_over(known, run.id, work)
        parts = self.database.parts_of(known.id or 0)
        if not own:
            parts = tuple(
                replace(part, id=None, run_id=run.id, reused_from=part.reused_from or part.id)
                for part in parts
            )
        made_from = self._planner.made_from(work)
        if own and known.made_from is None and known.id is not None:  # an older version made it
            self.database.note_origin(known.id, made_from)
        taken = replace(
            taken,
            other_inputs=work.other_item_ids,
            gathered=work.gathered,
            made_from=made_from,
            own_parameters=self._planner.own_parameters(node, work.name),
        )
        self._recorded(node.name, taken, parts, write=not own)

    def _withdraw_older(self, task: Task) -> None:
        """Mark the old result as invalid before a task replaces its files."""
        if self._key_of.pop((task.run_id, task.item), task.key) != task.key:
            self.database.withdraw(task.run_id, task.item)

    def _record(self, outcome: Outcome) -> None:
        task = outcome.task
        if self._budget is not None:
            self._budget.written(outcome)
        if outcome.error is not None and outcome.error["kind"] == StepInterrupted.__name__:
            return
        if task.grows:
            self.listener.processed_ahead(outcome)
            if outcome.value is not None and task.item in self._growing:
                expected = {N_EXPECTED: task.n_expected}
                grown = ItemRecord(task.run_id, task.item, task.key, GROWING, outcome.value, records=expected)
                self._grown(task.node, grown)
            return
        item = ItemRecord(
            run_id=task.run_id,
            name=task.item,
            key=task.key,
            state="failed" if outcome.error else "left_out" if outcome.left_out else "done",
            reason=outcome.left_out,
            value=outcome.value,
            figures=outcome.figures,
            not_measurable=outcome.not_measurable,
            records=outcome.records,
            warnings=outcome.warnings,
            error=outcome.error,
            files=outcome.files,
            started=outcome.started,
            seconds=outcome.seconds,
            device=outcome.device,
            host=outcome.host,
            input_item_id=task.input_item_id,
            other_inputs=task.other_item_ids,
            gathered=task.gathered,
            own_parameters=task.own_parameters,
            made_from=task.made_from,
        )
        parts = tuple(_part(part, item) for part in outcome.parts)
        try:
            self._recorded(task.node, item, parts)
        except DataUnfitError as error:  # a part has the name of another item
            item = replace(item, state="failed", value=None, error=describe_error(error))
            self._recorded(task.node, item)
        if item.state == "done":
            forget_partial_results(task.project, task.step, task.item)

    def _recorded(
        self, node: str, item: ItemRecord, parts: tuple[ItemRecord, ...] = (), *, write: bool = True
    ) -> None:
        """Record an item, notify the listener, and pass its results on to the nodes it feeds."""
        if write:
            item, parts = self.database.record_work(item, parts)
            if item.state != "failed" and item.reused_from is None:
                self._known_keys.add(item.key)
        self.listener.finished(node, item)
        failed = self._summary.failed
        failed[:] = [old for old in failed if (old.run_id, old.name) != (item.run_id, item.name)]
        self._inputs.forget(node, item)
        if item.state != "done":
            for follower, _ in self._workflow.followers(node):
                self._queue.drop(follower.name, item.name)
        if item.state == "failed":
            self._summary.failed.append(item)
            return
        if item.state == "left_out":
            self._summary.left_out.append(item)
            return
        if (node, item.name) not in self._counted:  # a recomputed result counts once
            self._counted.add((node, item.name))
            self._summary.n_done += 1
            self._summary.n_reused += item.reused_from is not None
        if self._planner.is_left_out(item.name):
            return  # by a user, as a whole
        if self._queue.awaits_newer(node, item.name):
            return  # kept for viewing; only the newer state proceeds
        for follower, role in self._workflow.followers(node):
            output = link_of(follower.feeds[role]).output
            given = [part for part in parts if part.output == output]
            for one in given or ([] if output else [item]):
                self._offer(follower, role, one)

    def _finish(self, running: dict[Future[Outcome], Task]) -> None:
        """Record unfinished work when stopped, and how every run ended."""
        if self._summary.stopped:
            (self.project / STOP_FILE).touch()  # workers look for it, wherever they are
        for future in running:
            if not future.cancel():
                self._record(future.result())
        if not self._summary.stopped:
            self._fail_the_unpaired()
        failed = {item.run_id for item in self._summary.failed}
        counts = self.database.count_states()
        for run in self._planner.runs.values():
            is_empty = run.id not in counts  # the request itself was wrong
            state = "stopped" if self._summary.stopped else "done"
            self.database.end_run(run.id, "failed" if run.id in failed or is_empty else state)
        (self.project / STOP_FILE).unlink(missing_ok=True)

    def _fail_the_unpaired(self) -> None:
        """Record as failed the items for which a further input has no item of that name.

        If that item failed or was left out, this has been reported already.
        """
        for node, name, item, absent in list(self._inputs.waiting()):
            ended, above = (*self._summary.failed, *self._summary.left_out), self._runs_above(node)
            meets = self._inputs.how_inputs_meet(node)
            of_one_name = any(meets[role] is None for role in absent)
            if any(one.name == name if of_one_name else one.run_id in above for one in ended):
                continue
            message = (
                f"{name} cannot be paired: there is no item{' of that name' if of_one_name else ''} in "
                f"{' and '.join(node.links[role] for role in absent)}"
                f"{'; series are matched by name' if of_one_name else ''}"
            )
            error = describe_error(DataUnfitError(message))
            key = fingerprint(node.step, item.key, absent)
            run = self._planner.run_of(node)
            unpaired = ItemRecord(run.id, name, key, "failed", error=error, input_item_id=item.id)
            self._recorded(node.name, unpaired)


@dataclass(eq=False)
class Source:
    """Items on their way into the workflow at a node."""

    node: Node
    role: str
    items: Iterator[ItemRecord | None]
    is_live: bool = False
    """It has returned None: nothing at present."""


def _wait(running: Collection[Future[Outcome]]) -> Collection[Future[Outcome]]:
    """Futures that are done, after a turn at the latest."""
    if not running:
        time.sleep(_TURN_SECONDS)
        return ()
    return wait(running, _TURN_SECONDS, FIRST_COMPLETED).done


def _part(part: PartValue, item: ItemRecord) -> ItemRecord:
    """A further result of an item's work; its key follows from that of the item."""
    return ItemRecord(
        run_id=item.run_id,
        name=part.name,
        key=fingerprint(item.key, part.output, part.name),
        state="done",
        value=part.value,
        started=item.started,
        device=item.device,
        host=item.host,
        output=part.output,
    )


def _taken_over(item: ItemRecord, run_id: int, work: WorkItem) -> ItemRecord:
    return replace(
        item,
        id=None,
        run_id=run_id,
        input_item_id=work.input_item_id,
        reused_from=item.reused_from or item.id,
        files=(),
    )
