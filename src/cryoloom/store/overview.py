"""How far a project is, read straight from its tables: to import the mapper takes longer than to answer."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryoloom.errors import UserInputError
from cryoloom.store.names import FILE_NAME, TABLES_VERSION
from cryoloom.store.records import RunRecord

__all__ = ["Failure", "Overview", "read_overview"]


@dataclass(frozen=True, slots=True)
class Failure:
    """An item that failed; its error as `ItemRecord` holds it."""

    run_id: int
    name: str
    error: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Runs, oldest first; the nodes asked for last (None: nothing was); items by run and state."""

    runs: tuple[RunRecord, ...]
    nodes: tuple[str, ...] | None
    counts: Mapping[int, Mapping[str, int]]
    failures: tuple[Failure, ...]
    """The first ones of every run, by run and name."""


def read_overview(folder: Path, most_failures: int) -> Overview | None:
    """What is recorded of the project in ``folder``; None where its tables are of another version.

    Raises UserInputError where there is no project, or its database cannot be read.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise UserInputError(f"{folder} is not a cryoloom project: it holds no {FILE_NAME}")
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            return _read(connection, most_failures)
    except sqlite3.Error as error:
        raise UserInputError(f"{path} cannot be read as a project database: {error}") from error


def _read(connection: sqlite3.Connection, most_failures: int) -> Overview | None:
    connection.execute("BEGIN")  # one state of the project, though somebody writes
    version = connection.execute("SELECT value FROM settings WHERE name = 'tables_version'").fetchone()
    if version is None or version[0] != TABLES_VERSION:
        return None
    runs = connection.execute(
        "SELECT id, node, step, step_version, parameters, input_run_id, state, created, ended, environment, "
        "links, outputs FROM runs ORDER BY id"
    )
    plan = connection.execute("SELECT workflow FROM plans ORDER BY id DESC LIMIT 1").fetchone()
    counts: dict[int, dict[str, int]] = {}
    for run_id, state, n in connection.execute(
        "SELECT run_id, state, count(*) FROM items WHERE part_of IS NULL GROUP BY run_id, state"
    ):
        counts.setdefault(run_id, {})[state] = n
    failures = [
        Failure(run_id, name, None if error is None else json.loads(error))
        for run_id in sorted(counts)
        if "failed" in counts[run_id]
        for name, error in connection.execute(
            "SELECT name, error FROM items WHERE run_id = ? AND state = 'failed' ORDER BY name LIMIT ?",
            (run_id, most_failures),
        )
    ]
    return Overview(
        tuple(_run(*row) for row in runs),
        None if plan is None else tuple(node["name"] for node in json.loads(plan[0])["steps"]),
        counts,
        tuple(failures),
    )


def _run(
    run_id: int,
    node: str,
    step: str,
    step_version: int,
    parameters: str,
    input_run_id: int | None,
    state: str,
    created: str,
    ended: str | None,
    environment: str,
    links: str,
    outputs: str,
) -> RunRecord:
    return RunRecord(
        run_id,
        node,
        step,
        step_version,
        json.loads(parameters),
        input_run_id,
        state,
        _time(created),
        None if ended is None else _time(ended),
        json.loads(environment),
        links=json.loads(links),
        outputs=json.loads(outputs),
    )


def _time(stored: str) -> datetime:
    return datetime.fromisoformat(stored).replace(tzinfo=UTC)
