"""Output of `watch`: a table of the session's series, or one line of JSON per event."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cryoloom.cli.progress import JsonListener
from cryoloom.contract.discovery import find_step
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.history.results import sentence
from cryoloom.engine.live.watch_status import SeriesStatus
from cryoloom.engine.worker.task import Outcome, Task
from cryoloom.store.records import ItemRecord

__all__ = ["JsonWatchListener", "WatchBoard"]

_COLOURS = {"open": "cyan", "working": "yellow", "done": "green", "failed": "red", "abandoned": "magenta"}
_FINISHED = ("done", "failed", "abandoned")
_LINES_AROUND_THE_TABLE = 8
"""Headings, rulers and the lines below the table."""


@dataclass(slots=True)
class _Row:
    """State of a series in progress."""

    status: SeriesStatus | None = None
    n_ahead: int = 0
    """Movies processed before the series was closed."""
    now: str = ""
    """Step in progress, and how far it is."""
    state: str = "open"
    steps: str = ""
    """Step recorded last."""
    figures: str = ""
    note: str = ""
    finished_at: float = 0.0


class WatchBoard:
    """The table of a session; lines for finished, failed and reopened series stay on the screen."""

    def __init__(self, console: Console, n_expected: int | None = None) -> None:
        self._console, self._n_expected = console, n_expected
        self._rows: dict[str, _Row] = {}
        self._nodes: list[str] = []
        self._trouble = ""
        self._looked_at = ""
        self._lock = threading.Lock()
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()

    # What happens

    def planned(self, workflow: Workflow) -> None:
        """Store the plan of a series."""
        self._nodes = [node.name for node in workflow.steps]

    def watching(self, series: Sequence[SeriesStatus], trouble: str) -> None:
        """Update from the state of the folder."""
        with self._lock:
            if trouble and trouble != self._trouble:
                self._say("red", "folder", trouble)
            self._trouble = trouble
            self._looked_at = f"{datetime.now():%H:%M:%S}"
            for one in series:
                self._follow(one)

    def _follow(self, one: SeriesStatus) -> None:
        row = self._rows.setdefault(one.name, _Row())
        before, row.status = row.status, one
        if before is not None and before.state == one.state:
            row.note = one.note
            return
        row.note = one.note
        if one.state == "open":
            row.state, row.n_ahead = "open", 0
            self._say("cyan", one.name, one.note if before is not None else "began")
        elif one.state == "closed":
            row.state = "working" if row.state == "open" else row.state
            if one.n_whole >= max(one.n_in_metadata, self._n_expected or 0):  # otherwise a warning reports it
                self._say("cyan", one.name, one.note)
        else:
            row.state, row.finished_at = one.state, time.monotonic()

    def started(self, task: Task) -> None:
        """Show work in progress."""
        with self._lock:
            row = self._rows.setdefault(task.item, _Row())
            row.now = task.node
            if not task.grows:
                row.state = "working"

    def progress(self, task: Task, done: int, total: int) -> None:
        """Show the progress."""
        with self._lock:
            row = self._rows.setdefault(task.item, _Row())
            row.now = f"{task.node} {done}/{total}"
            if task.grows and self._is_furthest_ahead(task):
                row.n_ahead = done

    def _is_furthest_ahead(self, task: Task) -> bool:
        """Movies count when they are aligned, not when they are read for the gain."""
        return "images" in find_step(task.step).source_of

    def processed_ahead(self, outcome: Outcome) -> None:
        """Mark that no work on this item is in progress."""
        with self._lock:
            row = self._rows.setdefault(outcome.task.item, _Row())
            row.now = ""
            if outcome.error is not None:
                self._say("red", outcome.task.item, f"{outcome.task.node}: {sentence(outcome.error)}")

    def finished(self, node: str, item: ItemRecord) -> None:
        """Show the result of a step; the end of a series, and errors, become a line."""
        with self._lock:
            row = self._rows.setdefault(item.name, _Row())
            row.now = ""
            if item.state == "failed":
                row.state, row.note = "failed", f"{node}: {sentence(item.error)}"
            elif item.state == "left_out":
                row.state = "abandoned" if node == self._nodes[0] else "done"
                row.note = item.reason
            else:
                row.steps = node
                row.figures = "  ".join(
                    f"{name} {value:.4g}" for name, value in list(item.figures.items())[:2]
                )
                row.state = "done" if node == self._nodes[-1] else "working"
            if row.state in _FINISHED:
                row.finished_at = time.monotonic()
                self._say(_COLOURS[row.state], item.name, self._end_of(row, item))
            if item.reused_from is None:
                for warning in item.warnings:
                    said = warning.removeprefix(f"{item.name}: ")
                    self._say("yellow", item.name, said if node == self._nodes[0] else f"{node}: {said}")

    def _end_of(self, row: _Row, item: ItemRecord) -> str:
        if row.state != "done":
            return row.note if row.note.startswith(row.state) else f"{row.state}: {row.note}"
        again = " (known from before)" if item.reused_from is not None else ""
        return f"done{again}  {row.figures}"

    def _say(self, colour: str, name: str, text: str) -> None:
        line = f"[dim]{datetime.now():%H:%M:%S}[/]  [{colour}]{escape(name)}[/]  {escape(text)}"
        self._console.print(line, highlight=False, soft_wrap=True)

    # The table

    def _render(self) -> Group:
        with self._lock:
            rows = dict(self._rows)
            counts = {state: sum(row.state == state for row in rows.values()) for state in _COLOURS}
            head = "   ".join(f"{n} {state}" for state, n in counts.items() if n) or "no series yet"
            table = Table("series", "tilts", "aligned", "state", "now", "figures, notes", expand=True)
            n_lines = max(3, self._console.height - _LINES_AROUND_THE_TABLE)
            shown = self._worth_showing(rows)[:n_lines]
            for name in sorted(shown):
                table.add_row(*self._cells(name, rows[name]))
            hidden = len(rows) - len(shown)
            looked = self._trouble or f"folder looked at {self._looked_at or 'soon'}"
            foot = f"{looked}   " + (f"{hidden} more series   " if hidden else "") + "Ctrl-C stops"
            return Group(Text(head, style="bold"), table, Text(foot, style="red" if self._trouble else "dim"))

    def _worth_showing(self, rows: dict[str, _Row]) -> list[str]:
        """Series in progress, then those that ended last."""
        return sorted(rows, key=lambda name: (rows[name].state in _FINISHED, -rows[name].finished_at, name))

    def _cells(self, name: str, row: _Row) -> tuple[Text, ...]:
        status = row.status
        n_expected = max(status.n_in_metadata, self._n_expected or 0) if status else 0
        tilts = f"{status.n_whole}/{n_expected}" if status else ""
        aligned = str(row.n_ahead) if row.state == "open" else ""
        now = row.now or (row.steps if row.state != "done" else "")
        shown = (name, tilts, aligned, row.state, now, row.figures if row.state == "done" else row.note)
        styles = ("bold", "", "", _COLOURS.get(row.state, ""), "", "dim")
        cells = (Text(str(text), style=style) for text, style in zip(shown, styles, strict=True))
        return tuple(cells)


class JsonWatchListener(JsonListener):
    """One line of JSON per event: those of all work, and each change of a series in the folder."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._known: dict[str, SeriesStatus] = {}
        self._trouble = ""

    def watching(self, series: Sequence[SeriesStatus], trouble: str) -> None:
        """Write a change."""
        if trouble != self._trouble:
            self._trouble = trouble
            self.say("folder", trouble=trouble)
        for one in series:
            if self._known.get(one.name) != one:
                self._known[one.name] = one
                self.say(
                    "series",
                    item=one.name,
                    state=one.state,
                    tilts_whole=one.n_whole,
                    tilts_told=one.n_in_metadata,
                    note=one.note,
                )
