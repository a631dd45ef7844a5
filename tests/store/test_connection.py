"""A plain connection to the project's database, and its errors in words."""

from __future__ import annotations

import sqlite3

import pytest

from cryoloom.errors import TransientError, UserInputError
from cryoloom.store.connection import connected, errors_named, open_connection
from cryoloom.store.database import Database
from cryoloom.store.names import FILE_NAME, TABLES_VERSION


def test_a_project_is_read_and_written_in_transactions(tmp_path):
    Database.create(tmp_path)
    with connected(tmp_path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # full
        assert not connection.in_transaction
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO settings (name, value) VALUES ('colour', 'blue')")
        connection.execute("ROLLBACK")
        assert connection.execute("SELECT value FROM settings WHERE name = 'colour'").fetchone() is None


def test_the_connection_is_closed_after_the_block(tmp_path):
    Database.create(tmp_path)
    with connected(tmp_path) as connection:
        pass
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_an_older_version_is_brought_up_to_date(tmp_path):
    Database.create(tmp_path)
    with connected(tmp_path) as connection:
        connection.execute("UPDATE settings SET value = '5' WHERE name = 'tables_version'")
        connection.execute("ALTER TABLE files DROP COLUMN cleaned")
    with connected(tmp_path) as connection:
        version = connection.execute("SELECT value FROM settings WHERE name = 'tables_version'").fetchone()
        connection.execute("SELECT cleaned FROM files")
    assert version == (TABLES_VERSION,)


def test_a_folder_without_a_project_is_not_made_one(tmp_path):
    with pytest.raises(UserInputError, match="is not a cryoloom project: it holds no"):
        open_connection(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_the_users_error(tmp_path):
    (tmp_path / FILE_NAME).write_text("tilt series " * 100)
    with pytest.raises(UserInputError, match="cannot be read as a project database"):
        open_connection(tmp_path)


def test_a_locked_database_may_be_tried_again(tmp_path):
    with (
        pytest.raises(TransientError, match="cannot be used: database is locked; free space"),
        errors_named(tmp_path / FILE_NAME),
    ):
        raise sqlite3.OperationalError("database is locked")
