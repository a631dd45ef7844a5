"""Live updates: server-sent events for every page, from one thread that watches the database."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass

from cryoloom.engine.live.alerts import alert_log, alerts_changed
from cryoloom.errors import CryoloomError
from cryoloom.web.project_view import ProjectView

__all__ = ["MOST_STREAMS", "Watcher"]

MOST_STREAMS = 64
_EVERY_SECONDS = 0.4
_HEARTBEAT_SECONDS = 15.0
"""Chosen: open pages, seconds between checks of the database, and seconds between heartbeats, so that proxies
do not close a stream."""


@dataclass(frozen=True, slots=True)
class Changed:
    """State of a changed project: a growing number, the status line, and the running work."""

    number: int
    status: str
    last_decision: int
    runs: tuple[tuple[int, str, int], ...]
    """Number, state and items of every run."""
    alerts: tuple[str, ...]
    """Current alerts, as texts."""

    def as_event(self) -> str:
        """The event in the format of the stream."""
        facts = {
            "number": self.number,
            "status": self.status,
            "last_decision": self.last_decision,
            "runs": self.runs,
            "alerts": self.alerts,
        }
        return f"id: {self.number}\nevent: changed\ndata: {json.dumps(facts)}\n\n"


class Watcher:
    """Watches one project while streams are open."""

    def __init__(self, project: ProjectView) -> None:
        self._project = project
        self._lock = threading.Lock()
        self._listeners: dict[asyncio.Queue[Changed | None], asyncio.AbstractEventLoop] = {}
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._number = 0
        self._last: Changed | None = None

    def end_streams(self) -> None:
        """End every stream now, because a server waits for them when it stops."""
        with self._lock:
            for queue, loop in self._listeners.items():
                loop.call_soon_threadsafe(queue.put_nowait, None)

    def close(self) -> None:
        """Stop watching."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(5)

    @property
    def n_listeners(self) -> int:
        """Number of open streams."""
        return len(self._listeners)

    async def stream(self) -> AsyncIterator[str]:
        """Events from now on; the first one has the current state."""
        queue: asyncio.Queue[Changed | None] = asyncio.Queue()
        with self._lock:
            self._listeners[queue] = asyncio.get_running_loop()
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
                self._thread.start()
            elif self._last is not None:
                queue.put_nowait(self._last)
        try:
            yield ": hello\n\n"
            while not self._closing.is_set():
                try:
                    changed = await asyncio.wait_for(queue.get(), _HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield ": still here\n\n"
                else:
                    if changed is None:
                        return
                    yield changed.as_event()
        finally:
            with self._lock:
                self._listeners.pop(queue, None)

    def _watch(self) -> None:
        seen: tuple[int, int, int] | None = None
        while not self._closing.wait(_EVERY_SECONDS if seen is not None else 0.0):
            if seen is not None and not self._listeners:
                continue
            try:
                now = (*self._project.data_version(), alerts_changed(self._project.folder))
                if now == seen:
                    continue
                changed = self._changed(now[1])
            except (sqlite3.Error, CryoloomError, OSError):
                continue  # the disk is unavailable, or the database is being migrated: try again
            seen = now
            with self._lock:
                self._last = changed
                for queue, loop in self._listeners.items():
                    loop.call_soon_threadsafe(queue.put_nowait, changed)

    def _changed(self, last_decision: int) -> Changed:
        self._number += 1
        log = alert_log(self._project.folder)
        return Changed(
            self._number,
            self._project.status_text(),
            last_decision,
            self._project.run_states(),
            tuple(alert.text for alert in log.active.values()),
        )
