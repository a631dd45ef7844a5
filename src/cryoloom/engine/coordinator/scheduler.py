"""The loop: every item goes on as soon as what it needs is there, and a failing one holds nobody up."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from cryoloom.contract import Step, find_step
from cryoloom.engine.coordinator.sources import OpenSource, source_items
from cryoloom.engine.coordinator.work_queue import WorkQueue
from cryoloom.engine.environment import describe_environment
from cryoloom.engine.executors.executor import Executor
from cryoloom.engine.graph.workflow import INPUT, Node, Workflow, run_id_of, validated_params
from cryoloom.engine.worker.partial_results import forget_partial_results
from cryoloom.engine.worker.task import STOP_FILE, Outcome, StepInterrupted, Task, describe_error
from cryoloom.errors import CryoloomError, DataUnfitError, UserInputError
from cryoloom.store.codec import fingerprint
from cryoloom.store.database import Database
from cryoloom.store.records import ItemRecord, RunRecord

__all__ = ["GROWING", "STOP_FILE", "Listener", "Scheduler", "Summary"]

GROWING = "growing"
"""State of an item that is not whole yet: it is never recorded."""
_TURN_SECONDS = 0.2
"""How long the loop waits at most before it looks at live sources and the stop file again."""


class Listener(Protocol):
    """Somebody who watches: the command line, a web page, a test. Called from workers, so be quick."""

    def planned(self, workflow: Workflow) -> None:
        """The work begins."""

    def progress(self, task: Task, done: int, total: int) -> None:
        """A step tells how far it is."""

    def started(self, task: Task) -> None:
        """A worker takes an item up."""

    def finished(self, node: str, item: ItemRecord) -> None:
        """An item is recorded: done, failed or left out, made or reused."""

    def worked_ahead(self, outcome: Outcome) -> None:
        """What can be done for an item that still grows is done, or failed."""


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
    """Name of the holding of the project's lock under which this runs."""

    def run(self, workflow: Workflow) -> Summary:
        """Work through all items; returns when nothing is left to do, or when told to stop."""
        self._workflow, self._summary = workflow, Summary()
        self._runs: dict[str, RunRecord] = {}
        self._waiting: dict[tuple[str, str], dict[str, ItemRecord]] = {}
        self._lasting: dict[tuple[str, str], dict[str, ItemRecord]] = {}
        """What an earlier run gave comes once; its partner comes again when its series is opened again."""
        self._step_of_run: dict[int, str] = {}
        for run in self.database.runs():
            self._step_of_run[run.id] = run.step
            if run.state == "running":  # its coordinator died: this one holds the lock
                self.database.end_run(run.id, "stopped")
        self._overrides = self.database.tilt_overrides()
        self._key_of = self.database.known_keys()
        self._known_keys = set(self._key_of.values())
        self._queue = WorkQueue(workflow)
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
                while len(running) < self.executor.n_slots and (task := self._next_task(running.values())):
                    if not self.executor.has_room(task):
                        self._queue.push(task)
                        break
                    self._withdraw_older(task)
                    self.listener.started(task)
                    running[self.executor.submit(task, self.listener.progress)] = task
                if not (running or self._queue or self._sources):
                    break
                for future in _wait(running):
                    del running[future]
                    self._record(future.result())
        except KeyboardInterrupt:
            self._summary.stopped = True
        finally:
            self._finish(running)
        return self._summary

    def _run_of(self, node: Node) -> RunRecord:
        """The run of a node, begun with its first item: a request that fails at once leaves no empty runs."""
        if node.name not in self._runs:
            fed_by: dict[str, int] = {}
            for role, source in node.feeds.items():
                known = run_id_of(source)
                fed_by[role] = self._run_of(self._workflow.node(source)).id if known is None else known
            run = self.database.begin_run(
                node.name,
                node.step,
                find_step(node.step).version,
                validated_params(node).model_dump(mode="json"),
                fed_by.pop(INPUT, None),
                describe_environment(),
                fed_by,
            )
            self._runs[node.name], self._step_of_run[run.id] = run, run.step
        return self._runs[node.name]

    def _open_sources(self) -> list[Source]:
        """Where this workflow's items come from, in its order."""
        sources = []
        for node in self._workflow.steps:
            if node.input is None:
                items = self.open_source(node, self._run_of(node), self.project)
                sources.append(Source(node, INPUT, items))
            for role, source in node.feeds.items():
                run_id = run_id_of(source)
                if run_id is None:
                    continue
                recorded = self.database.items(run_id, with_values=False)
                known = [item for item in recorded if item.state == "done"]
                if not known:
                    raise UserInputError(f"run {run_id} has no finished items to work on")
                sources.append(Source(node, role, iter(known)))
        return sources

    def _let_in(self, source: Source) -> bool:
        """Let one more item in, if the source has one; a source that ended is forgotten."""
        try:
            item = next(source.items)
        except StopIteration:
            self._sources.remove(source)
            return False
        if item is None:
            source.is_live = True
            return False
        if item.state == GROWING:
            self._grown(source.node.name, item)
        elif source.node.input is None:
            known = self._recorded_before(item)
            self._recorded(source.node.name, known or item, write=known is None)
        else:
            self._offer(source.node, source.role, item)
        return True

    def _recorded_before(self, item: ItemRecord) -> ItemRecord | None:
        """The same item of a source, if it stands in the database as it is."""
        if item.state != "done" or self._key_of.get((item.run_id, item.name)) != item.key:
            return None
        known = self.database.find_result(item.key)
        return replace(item, id=known.id) if known and known.run_id == item.run_id else None

    def _look_at_sources(self) -> None:
        """Take one item of each source, and all that a live one has, also while every worker is busy.

        A live source is known by its first None; what it brings is recorded within a turn.
        """
        for source in list(self._sources):
            while self._let_in(source) and source.is_live:
                pass

    def _next_task(self, running: Collection[Task]) -> Task | None:
        """The task furthest down the workflow; new items are let in when nothing else can begin."""
        while (task := self._queue.pop(running)) is None:
            if not any(self._let_in(source) for source in list(self._sources)):
                return None
        return task

    def _offer(self, node: Node, role: str, item: ItemRecord) -> None:
        """Queue an item for a node once all the node's inputs have it."""
        if node.items and item.name not in node.items:
            return
        key = node.name, item.name
        if run_id_of(node.feeds[role]) is not None:
            self._lasting.setdefault(key, {})[role] = item
        parts = self._waiting.setdefault(key, dict(self._lasting.get(key, {})))
        parts[role] = item
        if len(parts) == len(node.feeds):
            del self._waiting[key]
            self._enqueue(node, parts.pop(INPUT), parts)

    def _grown(self, node: str, item: ItemRecord) -> None:
        """Queue an item that still grows where something can be done ahead; nothing is recorded of it."""
        for follower, role in self._workflow.followers(node):
            wanted = not follower.items or item.name in follower.items
            if wanted and role == INPUT and find_step(follower.step).ahead is not None:
                self._queue.drop(follower.name, item.name)
                run = self._run_of(follower)
                self._queue.push(
                    Task(
                        self.project,
                        follower.name,
                        follower.step,
                        run.parameters,
                        run.folder,
                        run.id,
                        item.name,
                        item.key,
                        dict(item.value or {}),
                        grows=True,
                    )
                )

    def _content_key(self, item: ItemRecord) -> str:
        """Key of what an item holds: a step that only decides who goes on hands its input on."""
        while item.input_item_id is not None and find_step(self._step_of_run[item.run_id]).hands_on:
            item = self.database.item(item.input_item_id)
        return item.key

    def _enqueue(self, node: Node, item: ItemRecord, others: Mapping[str, ItemRecord]) -> None:
        """Queue an item for a node, or take over the result of an earlier run with the same key."""
        step, run = find_step(node.step), self._run_of(node)
        overrides = () if step.ignores_exclusions else self._overrides.get(item.name, ())
        decided = [[o.acquisition_index, o.keep, o.reason] for o in overrides]
        keys = [self._content_key(item)]
        if others:  # none at all where there are none: keys stay what they were
            keys.append(fingerprint({role: self._content_key(other) for role, other in others.items()}))
        if outside := _outside_facts(step, node, item.name):
            keys.append(fingerprint(outside))
        key = fingerprint(node.step, step.version, run.parameters, *keys, decided)
        other_ids = {role: other.id for role, other in others.items() if other.id is not None}
        self._queue.drop(node.name, item.name)
        known = self.database.find_result(key) if key in self._known_keys else None
        if known is not None:
            own = known.run_id == run.id
            taken = replace(known, reused_from=known.id) if own else _taken_over(known, run.id, item.id)
            self._recorded(node.name, replace(taken, other_inputs=other_ids), write=not own)
            return
        figures: dict[str, float] = {}
        not_measurable: dict[str, str] = {}
        if step.reads_figures:
            for upstream in (item, *self.database.ancestors(item)):
                new = {name: why for name, why in upstream.not_measurable.items() if name not in figures}
                figures |= {
                    name: value
                    for name, value in upstream.figures.items()
                    if name not in figures and name not in not_measurable
                }
                not_measurable = new | not_measurable
        self._queue.push(
            Task(
                self.project,
                node.name,
                node.step,
                run.parameters,
                run.folder,
                run.id,
                item.name,
                key,
                self._value(item),
                item.id,
                overrides,
                {role: self._value(other) for role, other in others.items()},
                other_ids,
                figures,
                not_measurable,
                coordinator=self.coordinator,
            )
        )

    def _withdraw_older(self, task: Task) -> None:
        """Say of a result whose files a task will replace that it is no more, before they are replaced."""
        if self._key_of.pop((task.run_id, task.item), task.key) != task.key:
            self.database.withdraw(task.run_id, task.item)

    def _value(self, item: ItemRecord) -> Mapping[str, Any]:
        """What an item holds; one that was found in the database came without it."""
        if item.value is None and item.id is not None:
            return self.database.value_of(item.id) or {}
        return item.value or {}

    def _record(self, outcome: Outcome) -> None:
        task = outcome.task
        if outcome.error is not None and outcome.error["kind"] == StepInterrupted.__name__:
            return
        if task.grows:
            self.listener.worked_ahead(outcome)
            if outcome.value is not None:
                grown = ItemRecord(task.run_id, task.item, task.key, GROWING, outcome.value)
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
        )
        self._recorded(task.node, item)
        if item.state == "done":
            forget_partial_results(task.project, task.step, task.item)

    def _recorded(self, node: str, item: ItemRecord, *, write: bool = True) -> None:
        """Write an item down, tell the listener, and pass it on to the nodes it feeds."""
        if write:
            item = replace(item, id=self.database.record_item(item))
            if item.state != "failed" and item.reused_from is None:
                self._known_keys.add(item.key)
        self.listener.finished(node, item)
        failed = self._summary.failed
        failed[:] = [old for old in failed if (old.run_id, old.name) != (item.run_id, item.name)]
        if item.state != "done":
            for follower, _ in self._workflow.followers(node):
                self._queue.drop(follower.name, item.name)
        if item.state == "failed":
            self._summary.failed.append(item)
            return
        if item.state == "left_out":
            self._summary.left_out.append(item)
            return
        self._summary.n_done += 1
        self._summary.n_reused += item.reused_from is not None
        if self._queue.awaits_newer(node, item.name):
            return  # kept for the eye; the newer state is what goes on
        for follower, role in self._workflow.followers(node):
            self._offer(follower, role, item)

    def _finish(self, running: dict[Future[Outcome], Task]) -> None:
        """Record what is still under way when stopped, and how every run ended."""
        if self._summary.stopped:
            (self.project / STOP_FILE).touch()  # workers look for it, wherever they are
        for future in running:
            if not future.cancel():
                self._record(future.result())
        if not self._summary.stopped:
            self._fail_the_partnerless()
        failed = {item.run_id for item in self._summary.failed}
        counts = self.database.count_states()
        for run in self._runs.values():
            is_empty = run.id not in counts  # the request itself was wrong
            state = "stopped" if self._summary.stopped else "done"
            self.database.end_run(run.id, "failed" if run.id in failed or is_empty else state)
        (self.project / STOP_FILE).unlink(missing_ok=True)

    def _fail_the_partnerless(self) -> None:
        """Record as failed what waits in vain for an item of its name from a further input.

        Where that item failed or was left out on its way, this has been told already.
        """
        for (name, item_name), parts in self._waiting.items():
            node, item = self._workflow.node(name), parts.get(INPUT)
            absent = [role for role in node.links if role not in parts]
            ended = {r.name for r in (*self._summary.failed, *self._summary.left_out)}
            if item is None or item_name in ended:
                continue
            message = (
                f"{item_name} has no partner: there is no item of that name in "
                f"{' and '.join(node.links[role] for role in absent)}; series are matched by name"
            )
            error = describe_error(DataUnfitError(message))
            key = fingerprint(node.step, item.key, absent)
            run = self._run_of(node)
            partnerless = ItemRecord(run.id, item_name, key, "failed", error=error, input_item_id=item.id)
            self._recorded(name, partnerless)


@dataclass(eq=False)
class Source:
    """Items on their way into the workflow at a node."""

    node: Node
    role: str
    items: Iterator[ItemRecord | None]
    is_live: bool = False
    """It has said once: nothing just now."""


def _outside_facts(step: Step, node: Node, name: str) -> object:
    """What a step says of the files its parameters name; that they are missing or unfit is a fact too."""
    if step.outside is None:
        return None
    try:
        return step.outside(name, validated_params(node))
    except (CryoloomError, OSError) as failure:
        return str(failure)


def _wait(running: Collection[Future[Outcome]]) -> Collection[Future[Outcome]]:
    """Futures that are done, after a turn at the latest."""
    if not running:
        time.sleep(_TURN_SECONDS)
        return ()
    return wait(running, _TURN_SECONDS, FIRST_COMPLETED).done


def _taken_over(item: ItemRecord, run_id: int, input_item_id: int | None) -> ItemRecord:
    return replace(
        item,
        id=None,
        run_id=run_id,
        input_item_id=input_item_id,
        reused_from=item.reused_from or item.id,
        files=(),
    )
