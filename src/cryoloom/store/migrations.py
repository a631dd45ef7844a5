"""Migration of the tables of an older cryoloom to this version; no record is lost."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, text

from cryoloom.store.tables import Base, pack

__all__ = ["migrate"]


def _add_links(connection: Connection) -> None:
    """1 to 2: several inputs, items left out, exports that can be traced back (its table is new)."""
    _execute(
        connection,
        "ALTER TABLE runs ADD COLUMN links JSON NOT NULL DEFAULT '{}'",
        "ALTER TABLE items ADD COLUMN other_inputs JSON NOT NULL DEFAULT '{}'",
        "ALTER TABLE items ADD COLUMN reason VARCHAR NOT NULL DEFAULT ''",
    )


def _move_contents(connection: Connection) -> None:
    """2 to 3: values and curves of items get a table of their own, deflated."""
    _execute(
        connection,
        "CREATE INDEX states_of_a_run ON items (run_id, state)",
        "CREATE TABLE IF NOT EXISTS contents (item_id INTEGER NOT NULL PRIMARY KEY REFERENCES items (id), "
        "value BLOB, records BLOB)",
    )
    ids = [row[0] for row in connection.execute(text("SELECT id FROM items"))]
    for item_id in ids:
        value, records = connection.execute(
            text("SELECT value, records FROM items WHERE id = :id"), {"id": item_id}
        ).one()
        packed = [None if data is None else pack(json.loads(data)) for data in (value, records)]
        connection.execute(
            text("INSERT INTO contents (item_id, value, records) VALUES (:id, :value, :records)"),
            {"id": item_id, "value": packed[0], "records": packed[1]},
        )
    for column in ("value", "records"):
        connection.execute(text(f"ALTER TABLE items DROP COLUMN {column}"))


def _add_parts(connection: Connection) -> None:
    """3 to 4: steps that gather, and steps with several outputs."""
    _execute(
        connection,
        "ALTER TABLE runs ADD COLUMN outputs JSON NOT NULL DEFAULT '{}'",
        "ALTER TABLE items ADD COLUMN gathered JSON NOT NULL DEFAULT '[]'",
        "ALTER TABLE items ADD COLUMN output VARCHAR NOT NULL DEFAULT ''",
        "ALTER TABLE items ADD COLUMN part_of INTEGER REFERENCES items (id)",
        "CREATE INDEX IF NOT EXISTS ix_items_part_of ON items (part_of)",
        "DROP INDEX IF EXISTS items_of_a_run",
        "CREATE UNIQUE INDEX items_of_a_run ON items (run_id, output, name)",
        "DROP INDEX IF EXISTS states_of_a_run",
        "CREATE INDEX states_of_a_run ON items (run_id, state, part_of)",
    )


def _make_events_of_choices(connection: Connection) -> None:
    """4 to 5: decisions of users on tilts and runs become events, and exclusions name who decided."""
    Base.metadata.tables["decisions"].create(connection)
    _execute(
        connection,
        "ALTER TABLE items ADD COLUMN own_parameters JSON NOT NULL DEFAULT '{}'",
        "ALTER TABLE items ADD COLUMN made_from JSON",
        "ALTER TABLE plans ADD COLUMN runs JSON NOT NULL DEFAULT '{}'",
        "INSERT INTO decisions (batch, kind, item, target, value, who, role, page, why, created) "
        "SELECT id, 'tilt', series, acquisition_index, "
        "CASE keep WHEN 0 THEN '{\"keep\": false}' ELSE '{\"keep\": true}' END, "
        "\"by\", 'user', '', reason, created FROM choices ORDER BY id",
        "DROP TABLE choices",
    )
    for run_id, comment, created in connection.execute(
        text("SELECT id, comment, created FROM runs WHERE comment != '' ORDER BY id")
    ).all():
        connection.execute(
            text(
                "INSERT INTO decisions (batch, kind, item, target, value, who, role, page, why, created) "
                "VALUES (0, 'comment', :item, '', :value, '', 'user', '', '', :created)"
            ),
            {"item": f"run:{run_id}", "value": json.dumps(comment), "created": created},
        )
    _make_events_of_steps_by_hand(connection)
    _execute(connection, "UPDATE decisions SET batch = id", "ALTER TABLE runs DROP COLUMN comment")
    steps = set(connection.execute(text("SELECT DISTINCT step FROM runs")).scalars())
    for (item_id,) in connection.execute(text("SELECT item_id FROM contents WHERE value IS NOT NULL")).all():
        packed = connection.execute(
            text("SELECT value FROM contents WHERE item_id = :id"), {"id": item_id}
        ).scalar_one()
        stored = zlib.decompress(packed)
        if b'"Exclusion"' in stored:
            value = _with_named_deciders(json.loads(stored), steps)
            connection.execute(
                text("UPDATE contents SET value = :value WHERE item_id = :id"),
                {"id": item_id, "value": pack(value)},
            )


def _make_events_of_steps_by_hand(connection: Connection) -> None:
    """Steps run by hand on single items after the last workflow: these items get their own parameters."""
    by_hand: list[tuple[str, Any]] = []
    for workflow, created in connection.execute(
        text("SELECT workflow, created FROM plans ORDER BY id")
    ).all():
        steps = json.loads(workflow)["steps"]
        if len(steps) > 1:
            by_hand = []
        elif steps[0].get("items") and steps[0].get("input"):
            by_hand.append((created, steps[0]))
    decided = text(
        "INSERT INTO decisions (batch, kind, item, target, value, who, role, page, why, created) "
        "VALUES (0, 'parameter', :item, :target, :value, '', 'user', '', 'run by hand', :created)"
    )
    for created, step in by_hand:
        for item in step["items"]:
            for parameter, value in step.get("parameters", {}).items():
                target = f"{step['name']}.{parameter}"
                row = {"item": item, "target": target, "value": json.dumps(value), "created": created}
                connection.execute(decided, row)


def _with_named_deciders(data: Any, steps: set[str]) -> Any:
    """Stored value in which every exclusion names whether a step or a user decided.

    steps : those that were run in the project. A value comes from their runs alone, so any other name is a
    login.
    """
    if isinstance(data, list):
        return [_with_named_deciders(inner, steps) for inner in data]
    if not isinstance(data, dict):
        return data
    changed = {name: _with_named_deciders(inner, steps) for name, inner in data.items()}
    if changed.get("$type") == "Exclusion" and isinstance(changed["by"], str):
        by = changed["by"]
        kind, name = ("step", by) if by in steps else ("user", "" if by == "user" else by)
        changed["by"] = {"$type": "DecidedBy", "kind": kind, "name": name}
    return changed


def _add_cleaning(connection: Connection) -> None:
    """5 to 6: files that were removed to save space."""
    _execute(connection, "ALTER TABLE files ADD COLUMN cleaned DATETIME")


def _note_changes(connection: Connection) -> None:
    """6 to 7: changes of items are noted; the table and its triggers are new, so nothing is to be moved."""


_STEPS: dict[str, tuple[str, Callable[[Connection], None]]] = {
    "1": ("2", _add_links),
    "2": ("3", _move_contents),
    "3": ("4", _add_parts),
    "4": ("5", _make_events_of_choices),
    "5": ("6", _add_cleaning),
    "6": ("7", _note_changes),
}


def migrate(engine: Engine) -> str:
    """Migrate a database as far as possible, in one transaction; returns its new version."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "BEGIN IMMEDIATE"
        )  # also for changes of tables; a second process waits here
        version = str(
            connection.execute(text("SELECT value FROM settings WHERE name = 'tables_version'")).scalar_one()
        )
        while version in _STEPS:
            version, change = _STEPS[version]
            change(connection)
            connection.execute(
                text("UPDATE settings SET value = :version WHERE name = 'tables_version'"),
                {"version": version},
            )
        Base.metadata.create_all(connection)
    return version


def _execute(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(text(statement))
