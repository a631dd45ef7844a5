"""The stream of a page: how things stand, then every change once, until the server or the page ends."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cryoloom.web import events
from cryoloom.web.events import Watcher
from makers.loops import in_a_loop_of_its_own


class Scripted:
    """What a watcher asks of a project; the version of its data is set by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version, self.decision, self.is_away = 1, 0, False

    def data_version(self) -> tuple[int, int]:
        if self.is_away:
            raise sqlite3.OperationalError("disk I/O error")
        return self.version, self.decision

    def status_text(self) -> str:
        return f"state {self.version}"

    def run_states(self) -> tuple[tuple[int, str, int], ...]:
        return ((1, "running", self.version),)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    monkeypatch.setattr(events, "_EVERY_SECONDS", 0.01)
    return Scripted(tmp_path)


async def next_facts(stream: AsyncIterator[str]) -> dict[str, Any]:
    """The next event that is not a comment."""
    while True:
        text = await asyncio.wait_for(anext(stream), 20)
        if not text.startswith(":"):
            lines = text.splitlines()
            assert lines[1] == "event: changed"
            assert text.endswith("\n\n")
            return json.loads(lines[2].removeprefix("data: "))


def test_a_page_gets_the_state_and_then_every_change(project: Scripted) -> None:
    async def follow() -> None:
        watcher = Watcher(project)  # type: ignore[arg-type]
        stream = watcher.stream()
        first = await next_facts(stream)
        assert (first["status"], first["runs"], first["last_decision"]) == ("state 1", [[1, "running", 1]], 0)
        assert watcher.n_listeners == 1
        project.version, project.decision = 2, 7
        second = await next_facts(stream)
        assert (second["status"], second["last_decision"]) == ("state 2", 7)
        assert second["number"] > first["number"]
        # A page that comes later begins with the last state.
        later = watcher.stream()
        assert (await next_facts(later))["status"] == "state 2"
        watcher.end_streams()
        for one in (stream, later):
            rest = [text async for text in one]
            assert all(text.startswith((":", "id: ")) for text in rest)
        assert watcher.n_listeners == 0
        watcher.close()

    in_a_loop_of_its_own(follow())


def test_a_disk_that_is_away_ends_no_stream(project: Scripted) -> None:
    async def follow() -> None:
        watcher = Watcher(project)  # type: ignore[arg-type]
        stream = watcher.stream()
        await next_facts(stream)
        project.is_away = True
        project.version = 2
        await asyncio.sleep(0.1)
        project.is_away = False
        assert (await next_facts(stream))["status"] == "state 2"
        watcher.close()

    in_a_loop_of_its_own(follow())


def test_a_quiet_project_sends_a_sign_of_life(project: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_HEARTBEAT_SECONDS", 0.05)

    async def follow() -> None:
        watcher = Watcher(project)  # type: ignore[arg-type]
        stream = watcher.stream()
        await next_facts(stream)
        assert await asyncio.wait_for(anext(stream), 20) == ": still here\n\n"
        watcher.close()

    in_a_loop_of_its_own(follow())
