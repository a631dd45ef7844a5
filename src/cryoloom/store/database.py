"""The project's database: SQLite in write-ahead mode, with one writing process and any number of readers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, delete, func, literal, or_, select, text, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, selectinload
from sqlalchemy.pool import StaticPool

from cryoloom.errors import DataUnfitError, TransientError
from cryoloom.model import DecidedBy, TiltOverride
from cryoloom.store.decisions import Author, Change, in_force, write_decisions
from cryoloom.store.names import FILE_NAME, TABLES_VERSION, UNFINISHED_NAME
from cryoloom.store.reading import Reader
from cryoloom.store.records import ExportRecord, ItemRecord, RunRecord, stored_figures
from cryoloom.store.sql_engine import open_current, open_engine
from cryoloom.store.tables import (
    Base,
    ContentRow,
    ExportRow,
    FileRow,
    ItemRow,
    PlanRow,
    RunRow,
    SettingRow,
)

__all__ = ["Database"]

_HIGHEST_DELETED = "highest_deleted_run"


class Database(Reader):
    """Write access to a project's records. Every method is one transaction."""

    def __init__(self, folder: Path, engine: Engine | None = None) -> None:
        self._folder = folder
        self._engine = engine or open_engine(folder / FILE_NAME)

    @classmethod
    def create(cls, folder: Path) -> Database:
        """Make a new database in an existing folder; it appears whole or not at all."""
        unfinished = folder / UNFINISHED_NAME
        unfinished.unlink(missing_ok=True)
        engine = open_engine(unfinished)
        Base.metadata.create_all(engine)
        with Session(engine) as session, session.begin():
            session.add(SettingRow(name="tables_version", value=TABLES_VERSION))
        engine.dispose()
        unfinished.replace(folder / FILE_NAME)
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> Database:
        """Open a project's database; raises UserInputError if there is none or a newer one."""
        return cls(folder, open_current(folder))

    def copied_to_memory(self) -> Database:
        """A copy that knows the same files; records made in it are lost with it."""
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        with self._engine.connect() as mine, engine.connect() as its:
            mine.connection.driver_connection.backup(its.connection.driver_connection)  # type: ignore[union-attr]
        return Database(self._folder, engine)

    def close(self) -> None:
        """Release the file."""
        self._engine.dispose()

    def _session(self) -> Session:
        return Session(self._engine, expire_on_commit=False)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._engine.connect() as connection:
            plain = connection.connection.driver_connection
            if not isinstance(plain, sqlite3.Connection):
                raise TypeError(f"the database is opened by {type(plain).__name__}, expected SQLite's driver")
            yield plain

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        """One transaction; raises TransientError if the disk cannot be written."""
        try:
            with self._session() as session, session.begin():
                yield session
        except OperationalError as error:
            raise TransientError(
                f"the project database {self._folder / FILE_NAME} cannot be written: {error.orig}; "
                "free space on that disk, or make it writable, then resume"
            ) from error

    # Settings of the project

    def set_setting(self, name: str, value: str) -> None:
        """Store a setting of the project."""
        with self._writing() as session:
            session.merge(SettingRow(name=name, value=value))

    def setting(self, name: str) -> str:
        """A setting of the project; "" if there is none."""
        with self._session() as session:
            row = session.get(SettingRow, name)
            return "" if row is None else row.value

    # Plans and runs

    def add_plan(self, workflow: Mapping[str, Any], command: str) -> int:
        """Store a workflow as requested; returns its id."""
        with self._writing() as session:
            row = PlanRow(created=_now(), workflow=dict(workflow), command=command)
            session.add(row)
            session.flush()
            return row.id

    def forget_plan(self, plan_id: int) -> None:
        """Remove a wrong request for which nothing was recorded; the previous one applies again."""
        with self._writing() as session:
            session.execute(delete(PlanRow).where(PlanRow.id == plan_id))

    def note_run_of_plan(self, plan_id: int, node: str, run_id: int) -> None:
        """Store which run a node of a plan has."""
        with self._writing() as session:
            row = session.get_one(PlanRow, plan_id)
            row.runs = {**row.runs, node: run_id}

    def note_origin(self, item_id: int, made_from: Mapping[str, Any]) -> None:
        """Store what an item was made from, for an item of an older version."""
        with self._writing() as session:
            session.get_one(ItemRow, item_id).made_from = dict(made_from)

    def begin_run(
        self,
        node: str,
        step: str,
        step_version: int,
        parameters: Mapping[str, Any],
        input_run_id: int | None,
        environment: Mapping[str, Any],
        links: Mapping[str, int] | None = None,
        outputs: Mapping[str, str] | None = None,
    ) -> RunRecord:
        """Start a run, or continue the one with the same step, parameters and inputs."""
        with self._writing() as session:
            candidates = session.scalars(select(RunRow).where(RunRow.node == node, RunRow.step == step))
            for row in candidates:
                same = (row.step_version, row.parameters, row.input_run_id, row.links, row.outputs)
                fed = (input_run_id, dict(links or {}), dict(outputs or {}))
                if same == (step_version, dict(parameters), *fed):
                    break
            else:
                row = RunRow(
                    id=self._next_run_id(session),
                    node=node,
                    step=step,
                    step_version=step_version,
                    parameters=dict(parameters),
                    input_run_id=input_run_id,
                    links=dict(links or {}),
                    outputs=dict(outputs or {}),
                    created=_now(),
                )
                session.add(row)
            row.state, row.ended, row.environment = "running", None, dict(environment)
            session.flush()
            return _run_record(row)

    def _next_run_id(self, session: Session) -> int:
        """A number that no run ever had: deleted ones appear in users' notes, and perhaps on the disk."""
        deleted = session.get(SettingRow, _HIGHEST_DELETED)
        highest = session.scalar(select(func.max(RunRow.id))) or 0
        return max(highest, int(deleted.value) if deleted else 0) + 1

    def delete_runs(self, run_ids: Iterable[int]) -> None:
        """Remove runs with their items, files and exports; nothing that stays may refer to them."""
        runs = list(run_ids)
        items = select(ItemRow.id).where(ItemRow.run_id.in_(runs))
        with self._writing() as session:
            session.execute(text("PRAGMA defer_foreign_keys=ON"))  # items refer to one another
            for table in (FileRow, ExportRow, ContentRow):
                session.execute(delete(table).where(table.item_id.in_(items)))
            session.execute(delete(ItemRow).where(ItemRow.run_id.in_(runs)))
            session.execute(delete(RunRow).where(RunRow.id.in_(runs)))
            highest = max(self._next_run_id(session) - 1, *runs)
            session.merge(SettingRow(name=_HIGHEST_DELETED, value=str(highest)))

    def end_run(self, run_id: int, state: str) -> None:
        """Store how a run ended: done, failed or stopped."""
        with self._writing() as session:
            row = session.get_one(RunRow, run_id)
            row.state, row.ended = state, _now()

    # Items

    def record_item(self, item: ItemRecord) -> int:
        """Store an item's result or failure; it replaces an earlier one of that run and name.

        A reused item (``reused_from``) that comes without its value gets a copy of it.
        """
        return self.record_work(item, ())[0].id or 0

    def record_work(
        self, item: ItemRecord, parts: Sequence[ItemRecord]
    ) -> tuple[ItemRecord, tuple[ItemRecord, ...]]:
        """Store an item as `record_item` does, together with the other results of its work; returns ids.

        Parts of an earlier result of that run and name that are not given again are left out. Raises
        DataUnfitError if a part has the name of another item of the same output and run.
        """
        with self._writing() as session:
            item_id = _store(session, item)
            owned = [replace(part, part_of=item_id) for part in parts]
            _refuse_doubles(session, item_id, owned)
            stored = tuple(replace(part, id=_store(session, part)) for part in owned)
            earlier = session.scalars(select(ItemRow.id).where(ItemRow.part_of == item_id))
            for gone in set(earlier) - {part.id for part in stored}:
                left = {"state": "left_out", "key": "", "reason": f"{item.name} no longer gives it"}
                session.execute(update(ItemRow).where(ItemRow.id == gone).values(left))
        return replace(item, id=item_id), stored

    def known_keys(self) -> dict[tuple[int, str], str]:
        """Keys of all results that can be reused if their files are complete, by run and name."""
        query = select(ItemRow.run_id, ItemRow.name, ItemRow.key).where(ItemRow.part_of.is_(None))
        query = query.where(ItemRow.state.in_(_RESULTS), ItemRow.reused_from.is_(None))
        with self._session() as session:
            return {(run_id, name): key for run_id, name, key in session.execute(query)}

    def withdraw(self, run_id: int, name: str) -> None:
        """Mark a result that will be made again: its files will be replaced, so it cannot be reused."""
        made = (ItemRow.run_id == run_id, ItemRow.name == name, ItemRow.part_of.is_(None))
        with self._writing() as session:
            session.execute(update(ItemRow).where(*made).values(key=""))

    def find_result(self, key: str) -> ItemRecord | None:
        """An item with this key that is done, with all files present and of their stored length, or left out.

        It is returned without its value (`value_of`).
        """
        query = (
            select(ItemRow)
            .options(selectinload(ItemRow.files))
            .where(ItemRow.key == key, ItemRow.state.in_(_RESULTS), ItemRow.reused_from.is_(None))
            .where(ItemRow.part_of.is_(None))
            .order_by(ItemRow.id)
        )
        with self._session() as session:
            whole = (row.id for row in session.scalars(query) if all(map(self._is_whole, row.files)))
            found = next(whole, None)
        return None if found is None else self.item_without_value(found)

    def _is_whole(self, file: FileRow) -> bool:
        if file.cleaned is not None:
            return True  # it is recomputed when it is needed
        path = self._folder / file.path
        return path.exists() and (path.is_dir() or path.stat().st_size == file.bytes)

    # Files removed to save space

    def mark_cleaned(self, item_ids: Iterable[int], suffixes: Sequence[str]) -> None:
        """Say that files of items are no more, before they are removed: none is recorded that is not there.

        suffixes : endings of the names of those files.
        """
        endings = [FileRow.path.endswith(suffix) for suffix in suffixes]
        with self._writing() as session:
            for item_id in item_ids:
                chosen = update(FileRow).where(FileRow.item_id == item_id, or_(*endings))
                session.execute(chosen.values(cleaned=_now()))

    def forget_cleaning(self, item_ids: Iterable[int]) -> None:
        """Count removed files of items as missing, so that these are made again."""
        with self._writing() as session:
            for item_id in item_ids:
                session.execute(update(FileRow).where(FileRow.item_id == item_id).values(cleaned=None))

    def owners_of(self, paths: Iterable[str]) -> set[int]:
        """Ids of the items that made files, given relative to the project."""
        with self._session() as session:
            query = select(FileRow.item_id)
            return {one for path in paths for one in session.scalars(query.where(FileRow.path == path))}

    def has_cleaned(self) -> bool:
        """Whether any file was removed to save space."""
        with self._session() as session:
            return session.scalar(select(FileRow.id).where(FileRow.cleaned.is_not(None)).limit(1)) is not None

    # Exports

    def add_exports(self, exports: Iterable[ExportRecord]) -> None:
        """Store what was exported; a file that is written again replaces its record."""
        new = list(exports)
        with self._session() as session, session.begin():
            for path in {str(one.path) for one in new}:
                session.execute(delete(ExportRow).where(ExportRow.path == path))
            session.add_all(
                ExportRow(
                    item_id=one.item_id,
                    format=one.format,
                    path=str(one.path),
                    bytes=one.bytes,
                    sha256=one.sha256,
                    created=one.created,
                )
                for one in new
            )

    # Decisions of users

    def decide(self, changes: Iterable[Change], author: Author, why: str = "") -> None:
        """Record decisions through this database; in a copy (`copied_to_memory`) they stay in the copy."""
        new = list(changes)
        if new:
            with self._reading() as connection:
                write_decisions(connection, new, author, why)
                connection.commit()

    def tilt_overrides(self) -> dict[str, tuple[TiltOverride, ...]]:
        """Decisions of users on tilts, by series."""
        by_series: dict[str, list[TiltOverride]] = {}
        for decided in in_force(self.decisions(), kind="tilt"):
            by = DecidedBy("user", decided.who)
            override = TiltOverride(int(decided.target), bool(decided.value["keep"]), decided.why, by)
            by_series.setdefault(decided.item, []).append(override)
        return {
            series: tuple(sorted(overrides, key=lambda override: override.acquisition_index))
            for series, overrides in sorted(by_series.items())
        }


def _store(session: Session, item: ItemRecord) -> int:
    """Write one item in place of an earlier one of that run, output and name; returns its id."""
    columns = {name: getattr(item, name) for name in _COPIED}
    columns |= {
        "figures": stored_figures(item.figures, item.not_measurable),
        "warnings": list(item.warnings),
        "error": None if item.error is None else dict(item.error),
        "other_inputs": dict(item.other_inputs),
        "gathered": list(item.gathered),
        "own_parameters": dict(item.own_parameters),
        "made_from": None if item.made_from is None else dict(item.made_from),
    }
    named = {"run_id": item.run_id, "output": item.output, "name": item.name}
    storing = insert(ItemRow).values(**named, **columns)
    storing = storing.on_conflict_do_update(index_elements=list(named), set_=columns)
    item_id = int(session.execute(storing.returning(ItemRow.id)).scalar_one())
    for table in (ContentRow, FileRow):
        session.execute(delete(table).where(table.item_id == item_id))
    if item.value is None and item.reused_from is not None:
        stored = ContentRow.__table__.c
        copied = select(literal(item_id), stored.value, stored.records).where(
            stored.item_id == item.reused_from
        )
        session.execute(insert(ContentRow).from_select(["item_id", "value", "records"], copied))
    else:
        value = None if item.value is None else dict(item.value)
        content = {"item_id": item_id, "value": value, "records": dict(item.records)}
        session.execute(insert(ContentRow).values(content))
    if item.files:
        session.execute(
            insert(FileRow),
            [
                {"item_id": item_id, "role": f.role, "path": f.path.as_posix(), "bytes": f.bytes}
                for f in item.files
            ],
        )
    return item_id


def _refuse_doubles(session: Session, item_id: int, parts: Sequence[ItemRecord]) -> None:
    """Raise DataUnfitError if a part would replace an item that is not a part of the same work."""
    for part in parts:
        there = select(ItemRow).where(
            ItemRow.run_id == part.run_id, ItemRow.output == part.output, ItemRow.name == part.name
        )
        found = session.scalars(there).first()
        if found is not None and found.part_of != item_id and found.state != "left_out":
            raise DataUnfitError(
                f"an item called {part.name!r} was given twice by this step; expected a name that no other "
                "item of the run gives"
            )


_RESULTS = ("done", "left_out")
_COPIED = (
    "key",
    "input_item_id",
    "state",
    "reused_from",
    "started",
    "seconds",
    "device",
    "host",
    "reason",
    "part_of",
)


def _now() -> datetime:
    return datetime.now(UTC)


def _run_record(row: RunRow, comment: str = "") -> RunRecord:
    return RunRecord(
        row.id,
        row.node,
        row.step,
        row.step_version,
        row.parameters,
        row.input_run_id,
        row.state,
        row.created,
        row.ended,
        row.environment,
        comment,
        row.links,
        row.outputs,
    )
