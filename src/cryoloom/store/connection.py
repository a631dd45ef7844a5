"""A plain SQLite connection to the project's database, without SQLAlchemy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cryoloom.errors import TransientError, UserInputError
from cryoloom.store.names import FILE_NAME, TABLES_VERSION

__all__ = ["connected", "errors_named", "open_connection"]

_WAIT_SECONDS = 30.0
"""Longest wait for the writer's lock; a transaction of the coordinator takes milliseconds."""


def open_connection(folder: Path) -> sqlite3.Connection:
    """Connect to the database of the project in ``folder``; the caller begins transactions.

    Tables of an older version are migrated. Raises UserInputError if there is no project or its database
    cannot be read, and TransientError if the disk or another process prevents it.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise UserInputError(f"{folder} is not a cryoloom project: it holds no {FILE_NAME}")
    with errors_named(path):
        connection = sqlite3.connect(
            path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA synchronous=FULL")  # commits survive a power failure
        version = connection.execute("SELECT value FROM settings WHERE name = 'tables_version'").fetchone()
    if version != (TABLES_VERSION,):
        from cryoloom.store.sql_engine import open_current  # takes a second to import

        open_current(folder).dispose()
    return connection


@contextmanager
def connected(folder: Path) -> Iterator[sqlite3.Connection]:
    """A connection for the duration of the block; errors as in `open_connection`."""
    with closing(open_connection(folder)) as connection, errors_named(folder / FILE_NAME):
        yield connection


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """Errors of SQLite as messages for the user; ``path`` is that of the database."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise TransientError(
            f"the project database {path} cannot be used: {error}; "
            "free space on that disk, or make it writable"
        ) from error
    except sqlite3.DatabaseError as error:
        raise UserInputError(f"{path} cannot be read as a project database: {error}") from error
