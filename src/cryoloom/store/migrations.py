"""From the tables of an older cryoloom to today's: nothing that was recorded is lost."""

from __future__ import annotations

import json

from sqlalchemy import Connection, Engine, text

from cryoloom.store.tables import Base, pack

__all__ = ["migrate"]

_STEPS: dict[str, tuple[str, tuple[str, ...]]] = {
    # Steps with several inputs, items left out, exports that can be traced back (its table is new).
    "1": (
        "2",
        (
            "ALTER TABLE runs ADD COLUMN links JSON NOT NULL DEFAULT '{}'",
            "ALTER TABLE items ADD COLUMN other_inputs JSON NOT NULL DEFAULT '{}'",
            "ALTER TABLE items ADD COLUMN reason VARCHAR NOT NULL DEFAULT ''",
        ),
    ),
    # Values and curves of items moved into a table of their own, deflated (`_move_contents`).
    "2": ("3", ("CREATE INDEX states_of_a_run ON items (run_id, state)",)),
    # Steps that gather, and steps with several outputs.
    "3": (
        "4",
        (
            "ALTER TABLE runs ADD COLUMN outputs JSON NOT NULL DEFAULT '{}'",
            "ALTER TABLE items ADD COLUMN gathered JSON NOT NULL DEFAULT '[]'",
            "ALTER TABLE items ADD COLUMN output VARCHAR NOT NULL DEFAULT ''",
            "ALTER TABLE items ADD COLUMN part_of INTEGER REFERENCES items (id)",
            "CREATE INDEX IF NOT EXISTS ix_items_part_of ON items (part_of)",
            "DROP INDEX IF EXISTS items_of_a_run",
            "CREATE UNIQUE INDEX items_of_a_run ON items (run_id, output, name)",
            "DROP INDEX IF EXISTS states_of_a_run",
            "CREATE INDEX states_of_a_run ON items (run_id, state, part_of)",
        ),
    ),
}


def _move_contents(connection: Connection) -> None:
    """Take values and curves out of the items' table."""
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


def migrate(engine: Engine, version: str) -> str:
    """Bring a database of ``version`` as far as is known how, in one transaction; returns its new version."""
    with engine.begin() as connection:
        while version in _STEPS:
            version, statements = _STEPS[version]
            for statement in statements:
                connection.execute(text(statement))
            Base.metadata.create_all(connection)
            if version == "3":
                _move_contents(connection)
            connection.execute(
                text("UPDATE settings SET value = :version WHERE name = 'tables_version'"),
                {"version": version},
            )
    return version
