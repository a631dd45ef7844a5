"""From the tables of an older cryoloom to today's: SQL that adds, and never takes away."""

from __future__ import annotations

from sqlalchemy import Engine, text

from cryoloom.store.tables import Base

__all__ = ["TABLES_VERSION", "migrate"]

TABLES_VERSION = "2"

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
}


def migrate(engine: Engine, version: str) -> str:
    """Bring a database of ``version`` as far as is known how, in one transaction; returns its new version."""
    with engine.begin() as connection:
        while version in _STEPS:
            version, statements = _STEPS[version]
            for statement in statements:
                connection.execute(text(statement))
            Base.metadata.create_all(connection)
            connection.execute(
                text("UPDATE settings SET value = :version WHERE name = 'tables_version'"),
                {"version": version},
            )
    return version
