"""The overview tells what the database tells, without the mapper."""

import sqlite3
import subprocess
import sys

import pytest

from cryoloom.errors import UserInputError
from cryoloom.store.database import Database
from cryoloom.store.names import FILE_NAME
from cryoloom.store.overview import read_overview
from cryoloom.store.records import ItemRecord


@pytest.fixture
def project(tmp_path):
    database = Database.create(tmp_path)
    database.add_plan({"name": "w", "steps": [{"name": "a"}, {"name": "b"}]}, "cryoloom process")
    first = database.begin_run("a", "smooth", 1, {"strength": 2.0}, None, {"host": "here"})
    second = database.begin_run("b", "count", 1, {}, first.id, {}, {"other": first.id})
    for i in range(5):
        state = "failed" if i % 2 else "done"
        error = {"kind": "DataUnfitError", "message": f"too few tilts: {i}"} if i % 2 else None
        database.record_item(ItemRecord(first.id, f"TS_{i}", f"key {i}", state, error=error))
    database.record_item(ItemRecord(second.id, "TS_0", "key", "left_out", reason="dark"))
    database.end_run(first.id, "failed")
    yield tmp_path, database
    database.close()


def test_it_tells_what_the_database_tells(project):
    folder, database = project
    overview = read_overview(folder, 20)
    assert overview.runs == database.runs()
    assert [run.ended is None for run in overview.runs] == [False, True]
    assert overview.nodes == ("a", "b")
    assert overview.counts == database.count_states() == {1: {"done": 3, "failed": 2}, 2: {"left_out": 1}}
    failed = [(item.run_id, item.name, item.error) for item in database.items() if item.state == "failed"]
    assert [(one.run_id, one.name, one.error) for one in overview.failures] == failed
    assert len(read_overview(folder, 1).failures) == 1


def test_tables_of_another_version_are_left_to_the_database(project):
    folder, _ = project
    with sqlite3.connect(folder / FILE_NAME) as connection:
        connection.execute("UPDATE settings SET value = '2' WHERE name = 'tables_version'")
    assert read_overview(folder, 20) is None


def test_a_folder_without_a_project_and_a_broken_file_are_told(tmp_path):
    with pytest.raises(UserInputError, match="not a cryoloom project"):
        read_overview(tmp_path, 20)
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 100)
    with pytest.raises(UserInputError, match="cannot be read as a project database"):
        read_overview(tmp_path, 20)


def test_status_does_not_import_what_takes_long():
    code = "import sys, cryoloom.cli.glance; print([m for m in ('torch', 'sqlalchemy') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
