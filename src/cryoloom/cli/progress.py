"""Progress output: bars with the remaining time, or one JSON line per event."""

from __future__ import annotations

import json
import threading
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from cryoloom.cli.imports import imported_line
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.history.results import sentence
from cryoloom.engine.worker.task import Outcome, Task
from cryoloom.store.records import ItemRecord

__all__ = ["BarListener", "JsonListener"]


class BarListener:
    """One bar for the whole, one for each item in progress; results and errors stay on the screen."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}", justify="left"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._under_way: dict[tuple[str, str], TaskID] = {}
        self._workflow: Workflow | None = None
        self._items: set[str] = set()
        self._all: TaskID | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def planned(self, workflow: Workflow) -> None:
        """Begin the bar for the whole."""
        self._workflow = workflow
        for note in workflow.notes:
            self._console.print(f"[yellow]note[/]    {note}", highlight=False, soft_wrap=True)
        self._all = self._bars.add_task("all items", total=None)

    def started(self, task: Task) -> None:
        """Add a bar."""
        with self._lock:
            self._under_way[task.node, task.item] = self._bars.add_task(
                f"{task.item}  {task.node}", total=None
            )

    def progress(self, task: Task, done: int, total: int) -> None:
        """Move a bar."""
        bar = self._under_way.get((task.node, task.item))
        if bar is not None:
            self._bars.update(bar, completed=done, total=total)

    def finished(self, node: str, item: ItemRecord) -> None:
        """Remove the bar and leave a line."""
        with self._lock:
            bar = self._under_way.pop((node, item.name), None)
            if bar is not None:
                self._bars.remove_task(bar)
            if self._all is not None and self._workflow is not None:
                self._items.add(item.name)
                self._bars.update(self._all, total=len(self._items) * len(self._workflow.steps))
                self._bars.advance(self._all)
        if item.state == "failed":
            self._console.print(f"[red]failed[/]  {item.name}  {node}: ", end="")
            self._console.print(sentence(item.error), markup=False, highlight=False, soft_wrap=True)
            return
        if item.state == "left_out":
            self._console.print(f"[dim]left out[/] {item.name}  {node}: ", end="")
            self._console.print(item.reason, markup=False, highlight=False, soft_wrap=True)
            return
        time = "reused" if item.reused_from is not None else f"{item.seconds:.1f} s"
        figures = "  ".join(f"{name} {value:.4g}" for name, value in list(item.figures.items())[:3])
        if item.value is not None and self._is_source(node):
            figures = imported_line(item.value) or figures
        self._console.print(
            f"[green]done[/]    {item.name}  {node:<18} {time:>8}  [dim]{figures}[/]",
            highlight=False,
            soft_wrap=True,
        )
        for warning in item.warnings:
            self._console.print(f"[yellow]note[/]    {item.name}  {node}: ", end="")
            self._console.print(warning, markup=False, highlight=False, soft_wrap=True)

    def _is_source(self, name: str) -> bool:
        """Whether a node brings items in."""
        steps = () if self._workflow is None else self._workflow.steps
        return any(node.name == name and node.input is None for node in steps)

    def processed_ahead(self, outcome: Outcome) -> None:
        """Remove the bar."""
        with self._lock:
            bar = self._under_way.pop((outcome.task.node, outcome.task.item), None)
            if bar is not None:
                self._bars.remove_task(bar)


class JsonListener:
    """A line of JSON per event, for scripts."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def say(self, event: str, **facts: object) -> None:
        """Write an event."""
        with self._lock:
            self._console.file.write(json.dumps({"event": event, **facts}) + "\n")
            self._console.file.flush()

    def planned(self, workflow: Workflow) -> None:
        """Write the planned work."""
        self.say(
            "planned", workflow=workflow.name, steps=[n.name for n in workflow.steps], notes=workflow.notes
        )

    def started(self, task: Task) -> None:
        """Write that an item was started."""
        self.say("started", step=task.node, item=task.item)

    def progress(self, task: Task, done: int, total: int) -> None:
        """Write the progress of an item."""
        self.say("progress", step=task.node, item=task.item, done=done, total=total)

    def finished(self, node: str, item: ItemRecord) -> None:
        """Write the result of an item."""
        self.say(
            "finished",
            step=node,
            item=item.name,
            state=item.state,
            seconds=round(item.seconds, 3),
            reused=item.reused_from is not None,
            figures=dict(item.figures),
            not_measurable=dict(item.not_measurable),
            warnings=list(item.warnings),
            error=sentence(item.error),
            reason=item.reason,
        )

    def processed_ahead(self, outcome: Outcome) -> None:
        """Write that work was done for an item that is still growing."""
        error = sentence(outcome.error)
        self.say("processed_ahead", step=outcome.task.node, item=outcome.task.item, error=error)
