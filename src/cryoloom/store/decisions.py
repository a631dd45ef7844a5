"""Decisions of users: events that are only added, by anyone, also while a coordinator runs.

The last event of a kind, item and target applies. Decisions made together are one batch, and are undone
together. An undo is an event too, and can be undone. Nothing here imports SQLAlchemy or the model, so that a
command that only decides starts at once.
"""

from __future__ import annotations

import getpass
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryoloom.errors import UserInputError
from cryoloom.store.connection import connected

__all__ = [
    "Author",
    "Change",
    "Decision",
    "DecisionLog",
    "Decisions",
    "in_force",
    "read_decisions",
    "this_user",
    "write_decisions",
]

_COLUMNS = "id, batch, kind, item, target, value, who, role, page, why, created, undoes"


@dataclass(frozen=True, slots=True)
class Author:
    """Who decides, in which role, and where: a page of the web application, or a command."""

    who: str
    role: str = "user"
    page: str = "python"


@dataclass(frozen=True, slots=True)
class Change:
    """A change to be recorded.

    kind : ``tilt`` (item: series, target: acquisition index, value: ``{"keep": bool}``), ``series`` (item:
    series, value: ``{"keep": bool}``), ``parameter`` (item: series, target: ``node.parameter``, value: of the
    parameter), ``comment`` (item: series or ``run:N``, value: text), or another kind used by a page.
    value : plain JSON data; None makes the target undecided again.
    """

    kind: str
    item: str
    target: str
    value: Any


@dataclass(frozen=True, slots=True)
class Decision:
    """A recorded event."""

    id: int
    batch: int
    """Id of the first event of its batch."""
    kind: str
    item: str
    target: str
    value: Any
    who: str
    role: str
    page: str
    why: str
    when: datetime
    undoes: int | None = None
    """The batch that this event undoes."""
    is_undone: bool = False

    @property
    def subject(self) -> tuple[str, str, str]:
        """Subject of the decision: the last event with the same subject applies."""
        return self.kind, self.item, self.target


def this_user(page: str = "python") -> Author:
    """The person who runs this process."""
    return Author(getpass.getuser(), page=page)


def read_decisions(connection: sqlite3.Connection, kind: str | None = None) -> tuple[Decision, ...]:
    """All events, or those of a kind, oldest first, each with whether it is undone.

    An undo has the kinds, items and targets of what it undoes.
    """
    where, values = ("", ()) if kind is None else ("WHERE kind = ?", (kind,))
    rows = connection.execute(f"SELECT {_COLUMNS} FROM decisions {where} ORDER BY id", values)
    return _with_undone([_decision(row) for row in rows])


class DecisionLog:
    """All events of one project, kept between reads: only those that were added since are read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: tuple[Decision, ...] = ()

    def read(self, connection: sqlite3.Connection) -> tuple[Decision, ...]:
        """All events, as `read_decisions`, of the state of the project that the connection reads."""
        with self._lock:
            known = self._events
            last = known[-1].id if known else 0
            select = f"SELECT {_COLUMNS} FROM decisions WHERE id > ? ORDER BY id"
            new = [_decision(row) for row in connection.execute(select, (last,))]
            n_before = connection.execute("SELECT count(*) FROM decisions WHERE id <= ?", (last,)).fetchone()[
                0
            ]
            if n_before != len(known):  # an older state, or another database in its place
                self._events = read_decisions(connection)
            elif new:
                has_undo = any(event.undoes is not None for event in new)
                events = [*known, *new]
                self._events = _with_undone(events) if has_undo else tuple(events)
            return self._events


def _with_undone(events: Sequence[Decision]) -> tuple[Decision, ...]:
    """Events with whether each is undone."""
    undone: set[int] = set()
    for event in reversed(events):  # an undo that is itself undone has no effect
        if event.undoes is not None and event.batch not in undone:
            undone.add(event.undoes)
    return tuple(
        event
        if event.is_undone == (event.batch in undone)
        else replace(event, is_undone=event.batch in undone)
        for event in events
    )


def in_force(
    events: Iterable[Decision], *, kind: str | None = None, item: str | None = None
) -> tuple[Decision, ...]:
    """The decisions that apply: the last of every subject that is not undone."""
    last: dict[tuple[str, str, str], Decision] = {}
    for event in events:
        fits = kind in (None, event.kind) and item in (None, event.item)
        if fits and event.undoes is None and not event.is_undone:
            last[event.subject] = event
    return tuple(sorted((e for e in last.values() if e.value is not None), key=lambda event: event.id))


class Decisions:
    """Reads and writes the decisions of one project."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> tuple[Decision, ...]:
        """All events, oldest first."""
        with connected(self._folder) as connection:
            return read_decisions(connection)

    def decide(self, changes: Iterable[Change], author: Author, why: str = "") -> tuple[Decision, ...]:
        """Record changes as one batch; returns its events.

        Raises UserInputError for a value that is not plain JSON data.
        """
        new = list(changes)
        with self._writing() as connection:
            return write_decisions(connection, new, author, why)

    def undo(self, author: Author, batch: int | None = None, why: str = "") -> tuple[Decision, ...]:
        """Undo a batch, by the id of one of its events; returns the events that were undone.

        batch : by default the last one of this author that is not undone. An undo is a batch like any other.
        """
        with self._writing() as connection:
            events = read_decisions(connection)
            found = _batch_of(events, batch) if batch is not None else _last_batch(events, author)
            if found[0].is_undone:
                raise UserInputError(f"decision {found[0].batch} was undone already")
            undoing = [(e.kind, e.item, e.target, "null", found[0].batch) for e in found]
            _append(connection, undoing, author, why)
            return found

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the writer's lock from its beginning, so it cannot fail half-way."""
        with connected(self._folder) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def write_decisions(
    connection: sqlite3.Connection, changes: Iterable[Change], author: Author, why: str
) -> tuple[Decision, ...]:
    """Record changes as one batch in a transaction of the caller; returns their events."""
    return _append(connection, [(c.kind, c.item, c.target, _as_json(c), None) for c in changes], author, why)


def _append(
    connection: sqlite3.Connection,
    rows: Sequence[tuple[str, str, str, str, int | None]],
    author: Author,
    why: str,
) -> tuple[Decision, ...]:
    """Add rows of (kind, item, target, value as JSON, batch that is undone) as one batch."""
    if not rows:
        raise UserInputError("no decision was given; expected at least one change")
    now = datetime.now(UTC)
    batch = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM decisions").fetchone()[0]
    events = []
    for offset, (kind, item, target, value, undoes) in enumerate(rows):
        event = Decision(
            batch + offset,
            batch,
            kind,
            item,
            target,
            json.loads(value),
            author.who,
            author.role,
            author.page,
            why,
            now,
            undoes,
        )
        connection.execute(
            f"INSERT INTO decisions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                event.id,
                batch,
                kind,
                item,
                target,
                value,
                event.who,
                event.role,
                event.page,
                why,
                now.replace(tzinfo=None).isoformat(" "),
                undoes,
            ),
        )
        events.append(event)
    return tuple(events)


def _as_json(change: Change) -> str:
    try:
        return json.dumps(change.value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserInputError(
            f"the value of {change.kind} {change.item} {change.target} cannot be kept: {error}; "
            "expected text, finite numbers, true, false, or lists and tables of these"
        ) from error


def _batch_of(events: Sequence[Decision], event_id: int) -> tuple[Decision, ...]:
    named = next((event for event in events if event.id == event_id), None)
    if named is None:
        raise UserInputError(
            f"there is no decision {event_id}; `cryoloom decisions` lists those of this project"
        )
    return tuple(event for event in events if event.batch == named.batch)


def _last_batch(events: Sequence[Decision], author: Author) -> tuple[Decision, ...]:
    for event in reversed(events):
        if event.who == author.who and event.undoes is None and not event.is_undone:
            return _batch_of(events, event.id)
    raise UserInputError(f"{author.who} has decided nothing here that could be undone")


def _decision(row: tuple[Any, ...]) -> Decision:
    event_id, batch, kind, item, target, value, who, role, page, why, created, undoes = row
    return Decision(
        event_id,
        batch,
        kind,
        item,
        target,
        json.loads(value),
        who,
        role,
        page,
        why,
        datetime.fromisoformat(created).replace(tzinfo=UTC),
        undoes,
    )
