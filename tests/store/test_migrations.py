"""Projects of older versions: every record is there after the tables were migrated."""

from __future__ import annotations

import json
import sqlite3
import zlib
from contextlib import closing

import pytest
from sqlalchemy import create_engine

from cryoloom.store.migrations import migrate
from cryoloom.store.names import FILE_NAME
from cryoloom.store.reading import ProjectReader
from makers.old_projects import project_of_version_3, project_with_choices_of_version_3

NEWEST = "7"


def rows(folder, query):
    with closing(sqlite3.connect(folder / FILE_NAME)) as database:
        return database.execute(query).fetchall()


def migrated(folder):
    engine = create_engine(f"sqlite:///{folder / FILE_NAME}")
    try:
        return migrate(engine)
    finally:
        engine.dispose()


@pytest.fixture
def old(tmp_path):
    return project_of_version_3(tmp_path / "p")


@pytest.fixture
def with_choices(tmp_path):
    return project_with_choices_of_version_3(tmp_path / "p")


def test_every_record_is_there_afterwards(old):
    tables = ("runs", "items", "files", "plans", "contents")
    before = {table: rows(old, f"SELECT count(*) FROM {table}") for table in tables}
    values = rows(old, "SELECT item_id, value FROM contents ORDER BY item_id")
    assert migrated(old) == NEWEST
    assert {table: rows(old, f"SELECT count(*) FROM {table}") for table in tables} == before
    assert rows(old, "SELECT value FROM settings WHERE name = 'tables_version'") == [(NEWEST,)]
    assert rows(old, "SELECT item_id, value FROM contents ORDER BY item_id") == values  # no decisions in them


def test_a_second_migration_changes_nothing(old):
    migrated(old)
    before = (old / FILE_NAME).read_bytes()
    assert migrated(old) == NEWEST
    assert rows(old, "PRAGMA integrity_check") == [("ok",)]
    assert len((old / FILE_NAME).read_bytes()) == len(before)


def test_what_is_new_is_empty(old):
    migrated(old)
    assert rows(old, "SELECT DISTINCT gathered, output, part_of, own_parameters FROM items") == [
        ("[]", "", None, "{}")
    ]
    assert rows(old, "SELECT DISTINCT cleaned FROM files") == [(None,)]
    assert rows(old, "SELECT DISTINCT outputs FROM runs") == [("{}",)]


def test_choices_become_decisions_of_their_authors_in_their_order(with_choices):
    choices = rows(with_choices, 'SELECT series, acquisition_index, keep, "by" FROM choices ORDER BY id')
    migrated(with_choices)
    made = rows(
        with_choices, "SELECT item, target, value, who, role FROM decisions WHERE kind = 'tilt' ORDER BY id"
    )
    assert [(item, int(target), json.loads(value)["keep"], who) for item, target, value, who, _ in made] == [
        (series, index, bool(keep), by) for series, index, keep, by in choices
    ]
    assert {role for *_, role in made} == {"user"}
    assert rows(with_choices, "SELECT name FROM sqlite_master WHERE name = 'choices'") == []


def test_comments_of_runs_become_decisions(with_choices):
    (before,) = rows(with_choices, "SELECT id, comment FROM runs WHERE comment != ''")
    migrated(with_choices)
    (made,) = rows(with_choices, "SELECT item, value FROM decisions WHERE kind = 'comment'")
    assert made == (f"run:{before[0]}", json.dumps(before[1]))
    with ProjectReader(with_choices) as database:
        assert next(run for run in database.runs() if run.id == before[0]).comment == before[1]


def test_every_event_is_its_own_batch(with_choices):
    migrated(with_choices)
    assert rows(with_choices, "SELECT count(*) FROM decisions WHERE batch != id") == [(0,)]


def test_stored_exclusions_say_whether_a_step_or_a_user_decided(with_choices):
    migrated(with_choices)
    steps = {step for (step,) in rows(with_choices, "SELECT DISTINCT step FROM runs")}
    deciders = set()

    def collect(data):
        if isinstance(data, dict):
            if data.get("$type") == "Exclusion":
                deciders.add((data["by"]["kind"], data["by"]["name"]))
            for inner in data.values():
                collect(inner)
        elif isinstance(data, list):
            for inner in data:
                collect(inner)

    for (packed,) in rows(with_choices, "SELECT value FROM contents WHERE value IS NOT NULL"):
        collect(json.loads(zlib.decompress(packed)))
    assert {kind for kind, _ in deciders} == {"step", "user"}
    assert {name for kind, name in deciders if kind == "step"} <= steps
    assert not {name for kind, name in deciders if kind == "user"} & steps


def test_a_failure_leaves_the_old_tables(old, monkeypatch):
    """One transaction: half a migration would be a project that no version reads."""
    from cryoloom.store import migrations

    def broken(connection):
        raise RuntimeError("the disk is full")

    steps = dict(migrations._STEPS)
    steps["5"] = ("6", broken)
    monkeypatch.setattr(migrations, "_STEPS", steps)
    with pytest.raises(RuntimeError):
        migrated(old)
    assert rows(old, "SELECT value FROM settings WHERE name = 'tables_version'") == [("3",)]
    assert rows(old, "SELECT name FROM sqlite_master WHERE name = 'decisions'") == []
