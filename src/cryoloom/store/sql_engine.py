"""SQLAlchemy engine of a project's database; older tables are migrated when it is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError, NoResultFound

from cryoloom.errors import TransientError, UserInputError
from cryoloom.store.migrations import migrate
from cryoloom.store.names import FILE_NAME, TABLES_VERSION

__all__ = ["open_current", "open_engine"]


def open_current(folder: Path) -> Engine:
    """Open a project's database with the tables of this version; older ones are migrated.

    Raises UserInputError if there is no project, its database cannot be read, or it is newer.
    """
    if not (folder / FILE_NAME).is_file():
        raise UserInputError(f"{folder} is not a cryoloom project: it holds no {FILE_NAME}")
    engine = open_engine(folder / FILE_NAME)
    try:
        with engine.connect() as connection:
            version = connection.execute(
                text("SELECT value FROM settings WHERE name = 'tables_version'")
            ).scalar_one()
        if version != TABLES_VERSION:
            version = migrate(engine)
    except (DatabaseError, NoResultFound) as error:
        raise UserInputError(
            f"{folder / FILE_NAME} cannot be read as a project database: {getattr(error, 'orig', error)}"
        ) from error
    if version != TABLES_VERSION:
        raise UserInputError(
            f"{folder} was written by another cryoloom: its tables have version {version}, "
            f"this program reads {TABLES_VERSION}"
        )
    return engine


def open_engine(path: Path) -> Engine:
    """An engine whose connections use write-ahead logging and survive a power failure."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: object) -> None:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")  # commits survive a power failure
            connection.execute("PRAGMA foreign_keys=ON")
        except sqlite3.OperationalError as error:
            raise TransientError(
                f"the project database {path} cannot be opened: {error}; free space on that disk, or make it "
                "writable, then resume"
            ) from error
        except sqlite3.Error as error:
            raise UserInputError(f"the project database {path} cannot be opened: {error}") from error

    return engine
