"""Reading a project: runs, items, files, exports and decisions, straight from its tables.

`ProjectReader` is for read access: neither SQLAlchemy nor torch is imported. `Database` reads through the
same queries. Any number of processes may read while a coordinator writes.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryoloom.errors import TransientError
from cryoloom.store.connection import errors_named, open_connection
from cryoloom.store.decisions import Decision, DecisionLog, in_force, read_decisions
from cryoloom.store.names import FILE_NAME
from cryoloom.store.records import ExportRecord, FileRecord, ItemRecord, PlanRecord, RunRecord, read_figures

__all__ = ["ProjectReader", "Reader", "WorkTime"]

_RUN_COLUMNS = (
    "id, node, step, step_version, parameters, input_run_id, state, created, ended, environment, links, "
    "outputs"
)
_ITEM_COLUMNS = (
    "items.id, run_id, name, key, state, figures, warnings, error, reason, started, seconds, device, host, "
    "input_item_id, other_inputs, gathered, output, part_of, reused_from, own_parameters, made_from"
)
_WORK_TIMES = """
SELECT run_id, min(begin), max(finish), sum(max(0, finish - max(begin, coalesce(before, begin)))) FROM (
    SELECT run_id, begin, finish, max(finish) OVER (
        PARTITION BY run_id ORDER BY begin, finish ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS before
    FROM (
        SELECT run_id, julianday(started) AS begin, julianday(started) + seconds / 86400.0 AS finish
        FROM items WHERE started IS NOT NULL AND reused_from IS NULL AND part_of IS NULL
    )
) GROUP BY run_id
"""
"""First begin, last end, and the time in which any item was worked on, in days."""
_SECONDS_OF_DAY = 86400.0
_JULIAN_DAY_OF_EPOCH = 2440587.5
"""1970-01-01 00:00 UTC; SQLite's julianday counts days."""
_MOST_VALUES = 5000
"""SQLite takes 32766 values in a query."""


@dataclass(frozen=True, slots=True)
class WorkTime:
    """When the items of a run were made."""

    begin: datetime
    """Begin of the first one."""
    end: datetime
    """End of the last one."""
    busy_s: float
    """Time between in which any was worked on."""


class Reader(ABC):
    """Read access to a project's records; the methods return copies."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection on which one transaction can read."""

    # Plans and runs

    def plans(self) -> tuple[PlanRecord, ...]:
        """All requests, in order."""
        return self._plans("ORDER BY id")

    def last_plan(self) -> PlanRecord | None:
        """The last request."""
        return next(iter(self._plans("ORDER BY id DESC LIMIT 1")), None)

    def _plans(self, which: str) -> tuple[PlanRecord, ...]:
        with self._reading() as connection:
            rows = connection.execute(
                f"SELECT id, created, workflow, command, runs FROM plans {which}"
            ).fetchall()
        return tuple(
            PlanRecord(plan_id, _time(created), json.loads(workflow), command, json.loads(runs))
            for plan_id, created, workflow, command, runs in rows
        )

    def runs(self) -> tuple[RunRecord, ...]:
        """All runs, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(f"SELECT {_RUN_COLUMNS} FROM runs ORDER BY id").fetchall()
            events = read_decisions(connection, kind="comment")
        comments = {one.item: one.value for one in in_force(events) if not one.target}
        return tuple(_run(row, comments.get(f"run:{row[0]}", "")) for row in rows)

    def takeovers(self) -> set[tuple[int, int]]:
        """Pairs of runs; the first reused results of the second."""
        with self._reading() as connection:
            return set(
                connection.execute(
                    "SELECT DISTINCT items.run_id, origin.run_id FROM items "
                    "JOIN items AS origin ON items.reused_from = origin.id "
                    "WHERE items.run_id != origin.run_id"
                )
            )

    # Items

    def items(
        self,
        run_id: int | None = None,
        *,
        with_values: bool = True,
        with_records: bool = False,
        with_parts: bool = True,
        with_details: bool = True,
    ) -> tuple[ItemRecord, ...]:
        """Items of one run or of all, by run, output and name.

        Without values it is much faster; ``records`` (curves, tables) are read only on request. Parts
        (`ItemRecord.part_of`) are included unless excluded. Without details neither figures nor warnings nor
        files are read.
        """
        conditions = [
            *([] if run_id is None else ["run_id = ?"]),
            *([] if with_parts else ["part_of IS NULL"]),
        ]
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        values = () if run_id is None else (run_id,)
        with self._reading() as connection:
            return _items(connection, where, values, with_values, with_records, with_details=with_details)

    def items_named(self, name: str, *, with_values: bool = True) -> tuple[ItemRecord, ...]:
        """Results of all runs for one item, by run and output."""
        with self._reading() as connection:
            return _items(connection, "WHERE name = ?", (name,), with_values, False)

    def item(self, item_id: int) -> ItemRecord:
        """One item by id, with its records."""
        with self._reading() as connection:
            return _items(connection, "WHERE items.id = ?", (item_id,), True, True)[0]

    def item_without_value(self, item_id: int) -> ItemRecord:
        """One item by id, without its value."""
        with self._reading() as connection:
            return _items(connection, "WHERE items.id = ?", (item_id,), False, False)[0]

    def last_change(self) -> int:
        """Number of the last change of any item; 0 if none was noted yet."""
        with self._reading() as connection:
            row = connection.execute("SELECT coalesce(max(number), 0) FROM item_changes").fetchone()
        return int(row[0])

    def items_changed_since(self, number: int) -> dict[int, ItemRecord | None]:
        """Items that changed after a number of `last_change`, by id, no values; None for deleted ones."""
        changed = "SELECT item_id FROM item_changes WHERE number > ?"
        with self._reading() as connection:
            ids = [item_id for (item_id,) in connection.execute(changed, (number,))]
            where = f"WHERE items.id IN ({changed})"
            there = _items(connection, where, (number,), False, False) if ids else ()
        return {**dict.fromkeys(ids), **{item.id or 0: item for item in there}}

    def n_changed_since(self, number: int) -> int:
        """How many items changed after a number of `last_change`."""
        with self._reading() as connection:
            query = "SELECT count(*) FROM item_changes WHERE number > ?"
            return int(connection.execute(query, (number,)).fetchone()[0])

    def parts_of(self, item_id: int) -> tuple[ItemRecord, ...]:
        """The other results of an item's work, by output and name; no values."""
        with self._reading() as connection:
            return _items(connection, "WHERE part_of = ? AND state = 'done'", (item_id,), False, False)

    def ancestors(self, item: ItemRecord) -> tuple[ItemRecord, ...]:
        """Everything an item was made from, directly and indirectly: nearest first, each once; no values."""
        found: dict[int, ItemRecord] = {}
        wanted = list(item.input_ids)
        with self._reading() as connection:
            while wanted := [i for i in dict.fromkeys(wanted) if i not in found]:
                by_id: dict[int, ItemRecord] = {}
                for first in range(0, len(wanted), _MOST_VALUES):
                    ids = wanted[first : first + _MOST_VALUES]
                    marks = ", ".join("?" * len(ids))
                    made = _items(connection, f"WHERE items.id IN ({marks})", ids, False, False)
                    by_id |= {one.id: one for one in made if one.id is not None}
                found |= {i: by_id[i] for i in wanted if i in by_id}
                wanted = [parent for i in wanted if i in by_id for parent in by_id[i].input_ids]
        return tuple(found.values())

    def value_of(self, item_id: int) -> Mapping[str, Any] | None:
        """Value of an item that was read without it."""
        with self._reading() as connection:
            row = connection.execute("SELECT value FROM contents WHERE item_id = ?", (item_id,)).fetchone()
        value: Mapping[str, Any] | None = None if row is None else _inflated(row[0])
        return value

    def names(self) -> tuple[str, ...]:
        """Names of all items, in alphabetical order."""
        with self._reading() as connection:
            return tuple(
                name for (name,) in connection.execute("SELECT DISTINCT name FROM items ORDER BY name")
            )

    def count_states(self) -> dict[int, dict[str, int]]:
        """For every run, the number of its items in each state."""
        counts: dict[int, dict[str, int]] = {}
        with self._reading() as connection:
            for run_id, state, n in connection.execute(
                "SELECT run_id, state, count(*) FROM items WHERE part_of IS NULL GROUP BY run_id, state"
            ):
                counts.setdefault(run_id, {})[state] = n
        return counts

    def work_times(self) -> dict[int, WorkTime]:
        """When the items of every run were made; without runs that only took results over.

        A run itself ends when all that was requested with it has ended.
        """
        with self._reading() as connection:
            return {
                run_id: WorkTime(_from_julian(begin), _from_julian(end), busy * _SECONDS_OF_DAY)
                for run_id, begin, end, busy in connection.execute(_WORK_TIMES)
            }

    def failures(self, run_id: int, most: int) -> tuple[ItemRecord, ...]:
        """The first items of a run that failed, by name."""
        with self._reading() as connection:
            return _items(
                connection,
                "WHERE run_id = ? AND state = 'failed'",
                (run_id,),
                False,
                False,
                f"ORDER BY name LIMIT {int(most)}",
            )

    # Files and exports

    def item_of_file(self, path: Path) -> ItemRecord | None:
        """The item that made a file (path relative to the project)."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT item_id FROM files WHERE path = ? ORDER BY id", (path.as_posix(),)
            ).fetchone()
        return None if row is None else self.item(row[0])

    def files_of_length(self, size: int) -> tuple[tuple[int, Path], ...]:
        """Files of a length in bytes, each with the id of its item."""
        with self._reading() as connection:
            rows = connection.execute("SELECT item_id, path FROM files WHERE bytes = ? ORDER BY id", (size,))
            return tuple((item_id, Path(path)) for item_id, path in rows)

    def exports_of(self, path: Path) -> tuple[ExportRecord, ...]:
        """Source of an exported file."""
        return self._exports("path = ?", (str(path),))

    def exports_with(self, size: int, sha256: str) -> tuple[ExportRecord, ...]:
        """Source of exported files with this content, of the first such file."""
        found = self._exports("bytes = ? AND sha256 = ?", (size, sha256))
        return tuple(one for one in found if one.path == found[0].path)

    def _exports(self, condition: str, values: tuple[Any, ...]) -> tuple[ExportRecord, ...]:
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT item_id, format, path, bytes, sha256, created FROM exports "
                f"WHERE {condition} ORDER BY id",
                values,
            ).fetchall()
        return tuple(
            ExportRecord(item_id, form, Path(path), size, sha256, _time(created))
            for item_id, form, path, size, sha256, created in rows
        )

    # Decisions

    def decisions(self) -> tuple[Decision, ...]:
        """All events, oldest first; `store.decisions` writes them."""
        with self._reading() as connection:
            return read_decisions(connection)


class ProjectReader(Reader):
    """Read access to the project in a folder. Each thread has its own connection."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._all: list[sqlite3.Connection] = []
        self._in_use: set[sqlite3.Connection] = set()
        self._is_closed = False
        self._log = DecisionLog()
        self._connection()  # refuses a folder without a project at once

    def close(self) -> None:
        """Release the file; a thread that still reads releases its part of it when it has read."""
        with self._lock:
            self._is_closed = True
            idle = [one for one in self._all if one not in self._in_use]
        for connection in idle:
            connection.close()

    def decisions(self) -> tuple[Decision, ...]:
        """All events, oldest first; those that were read before are kept."""
        with self._reading() as connection:
            return self._log.read(connection)

    def __enter__(self) -> ProjectReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = open_connection(self.folder)
            connection.execute("PRAGMA query_only=ON")
            self._local.connection = connection
            with self._lock:
                self._all.append(connection)
        return connection

    @contextmanager
    def one_state(self) -> Iterator[None]:
        """All that is read inside is of one state of the project."""
        with self._reading():
            yield

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        with self._lock:
            if self._is_closed:
                raise TransientError(f"{self.folder} was closed; open the project again")
            is_outermost = connection not in self._in_use
            self._in_use.add(connection)
        if not is_outermost:
            yield connection
            return
        try:
            with errors_named(self.folder / FILE_NAME):
                connection.execute("BEGIN")  # one state of the project, even if others write
                try:
                    yield connection
                finally:
                    connection.execute("ROLLBACK")
        finally:
            self._release(connection)

    def _release(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            self._in_use.discard(connection)
            is_closed = self._is_closed
        if is_closed:  # SQLite crashes where a connection is closed that another thread reads from
            connection.close()


def _run(row: Sequence[Any], comment: str) -> RunRecord:
    run_id, node, step, version, parameters, input_run, state, created, ended, environment, links, outputs = (
        row
    )
    return RunRecord(
        run_id,
        node,
        step,
        version,
        json.loads(parameters),
        input_run,
        state,
        _time(created),
        None if ended is None else _time(ended),
        json.loads(environment),
        comment,
        json.loads(links),
        json.loads(outputs),
    )


def _items(
    connection: sqlite3.Connection,
    where: str,
    values: Sequence[Any],
    with_values: bool,
    with_records: bool,
    order: str = "ORDER BY run_id, output, name",
    *,
    with_details: bool = True,
) -> tuple[ItemRecord, ...]:
    """Items selected by a condition on ``items``."""
    files: dict[int, list[FileRecord]] = {}
    chosen = f"SELECT items.id FROM items {where}"
    columns = _ITEM_COLUMNS
    if with_details:
        for item_id, role, path, n_bytes, is_cleaned in connection.execute(
            "SELECT item_id, role, path, bytes, cleaned IS NOT NULL FROM files "
            f"WHERE item_id IN ({chosen}) ORDER BY id",
            values,
        ):
            file = FileRecord(role, Path(path), n_bytes, bool(is_cleaned))
            files.setdefault(item_id, []).append(file)
    else:
        columns = columns.replace("figures, warnings", "'{}', '[]'")
    contents = ", contents.value" if with_values else ", NULL"
    contents += ", contents.records" if with_records else ", NULL"
    joined = "LEFT JOIN contents ON item_id = items.id" if with_values or with_records else ""
    rows = connection.execute(f"SELECT {columns}{contents} FROM items {joined} {where} {order}", values)
    return tuple(_item(row, files.get(row[0], ())) for row in rows)


def _item(row: Sequence[Any], files: Iterable[FileRecord]) -> ItemRecord:
    (
        item_id, run_id, name, key, state, figures, warnings, error, reason, started, seconds, device, host,
        input_item_id, other_inputs, gathered, output, part_of, reused_from, own_parameters, made_from,
        value, records,
    ) = row  # fmt: skip
    measured, not_measurable = read_figures(_parsed(figures))
    return ItemRecord(
        run_id=run_id,
        name=name,
        key=key,
        state=state,
        value=_inflated(value),
        figures=measured,
        not_measurable=not_measurable,
        records=_inflated(records) or {},
        warnings=tuple(_parsed(warnings)),
        error=_parsed(error),
        reason=reason,
        files=tuple(files),
        started=None if started is None else _time(started),
        seconds=seconds,
        device=device,
        host=host,
        id=item_id,
        input_item_id=input_item_id,
        other_inputs=_parsed(other_inputs),
        gathered=tuple(_parsed(gathered)),
        output=output,
        part_of=part_of,
        reused_from=reused_from,
        own_parameters=_parsed(own_parameters),
        made_from=_parsed(made_from),
    )


def _parsed(text: str | None) -> Any:
    """JSON data of a column; most columns of most items are empty."""
    if text is None or text == "null":
        return None
    if text == "{}":
        return {}
    return [] if text == "[]" else json.loads(text)


def _inflated(packed: bytes | None) -> Any:
    """JSON data as `tables.Packed` stores them."""
    return None if packed is None else json.loads(zlib.decompress(packed))


def _time(stored: str) -> datetime:
    return datetime.fromisoformat(stored).replace(tzinfo=UTC)


def _from_julian(day: float) -> datetime:
    return datetime.fromtimestamp((day - _JULIAN_DAY_OF_EPOCH) * _SECONDS_OF_DAY, UTC)
