"""Opening a project's database: refused with a sentence where it is none, or of another version."""

from __future__ import annotations

import sqlite3

import pytest

from cryoloom.errors import UserInputError
from cryoloom.store.database import Database
from cryoloom.store.names import FILE_NAME, TABLES_VERSION
from cryoloom.store.sql_engine import open_current


def test_a_database_is_opened_with_its_version(tmp_path):
    Database.create(tmp_path).close()
    engine = open_current(tmp_path)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    engine.dispose()


def test_other_folders_and_files_are_refused(tmp_path):
    with pytest.raises(UserInputError, match="is not a cryoloom project"):
        open_current(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"no database at all, but long enough for a header" * 100)
    with pytest.raises(UserInputError, match=r"cannot be (opened|read)"):
        open_current(tmp_path)


def test_a_newer_version_is_refused_and_not_changed(tmp_path):
    Database.create(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE settings SET value = '999' WHERE name = 'tables_version'")
    connection.close()
    with pytest.raises(UserInputError, match=f"tables have version 999, this program reads {TABLES_VERSION}"):
        open_current(tmp_path)
