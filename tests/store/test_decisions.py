"""Events are only added, the last of a subject counts, and every batch can be taken back."""

import json
import sqlite3
import subprocess
import sys
import threading

import pytest

from cryoloom.errors import UserInputError
from cryoloom.store.connection import connected
from cryoloom.store.database import Database
from cryoloom.store.decisions import Author, Change, DecisionLog, Decisions, in_force
from cryoloom.store.names import FILE_NAME
from cryoloom.store.records import ItemRecord

ANNA = Author("anna", "owner", "/series/TS_01")
BO = Author("bo", "viewer", "command line")


@pytest.fixture
def decisions(tmp_path):
    Database.create(tmp_path).close()
    return Decisions(tmp_path)


def leave_out(*indices, series="TS_01"):
    return [Change("tilt", series, str(index), {"keep": False}) for index in indices]


def targets(decisions, **which):
    return [event.target for event in in_force(decisions.all(), **which)]


def test_an_event_comes_back_as_it_was_decided(decisions):
    made = decisions.decide([Change("slab", "TS_01", "reconstruct", {"top": 1.5, "by": ["x"]})], ANNA, "ice")
    (read,) = decisions.all()
    assert (read,) == made
    assert read.value == {"top": 1.5, "by": ["x"]}
    assert (read.who, read.role, read.page, read.why) == ("anna", "owner", "/series/TS_01", "ice")
    assert read.when.tzinfo is not None
    assert (read.id, read.batch, read.undoes, read.is_undone) == (1, 1, None, False)


def test_the_last_event_of_a_subject_counts(decisions):
    decisions.decide(leave_out(3, 4), ANNA)
    decisions.decide([Change("tilt", "TS_01", "3", {"keep": True})], BO, "it is good")
    decisions.decide(leave_out(3, series="TS_02"), BO)
    found = in_force(decisions.all(), kind="tilt", item="TS_01")
    assert {event.target: (event.value["keep"], event.who) for event in found} == {
        "3": (True, "bo"),
        "4": (False, "anna"),
    }
    decisions.decide([Change("tilt", "TS_01", "4", None)], ANNA)
    assert targets(decisions, item="TS_01") == ["3"]
    assert len(decisions.all()) == 5  # nothing is ever removed


def test_a_batch_is_undone_at_once_and_the_undo_too(decisions):
    decisions.decide(leave_out(1), ANNA)
    decisions.decide(leave_out(3, 4), ANNA)
    decisions.decide(leave_out(7), BO)
    undone = decisions.undo(ANNA)
    assert [event.target for event in undone] == ["3", "4"]  # hers, not that of somebody later
    assert targets(decisions) == ["1", "7"]
    undo = decisions.all()[-1]
    decisions.undo(BO, undo.id)
    assert targets(decisions) == ["1", "3", "4", "7"]
    decisions.undo(ANNA, 3)  # by any event of the batch
    decisions.undo(ANNA)
    assert targets(decisions) == ["7"]
    with pytest.raises(UserInputError, match="anna has decided nothing here that could be undone"):
        decisions.undo(ANNA)
    with pytest.raises(UserInputError, match="decision 2 was undone already"):
        decisions.undo(BO, 3)
    with pytest.raises(UserInputError, match="there is no decision 99"):
        decisions.undo(BO, 99)


def test_undoing_brings_back_what_counted_before(decisions):
    decisions.decide([Change("parameter", "TS_01", "reconstruct.binning", 4)], ANNA)
    decisions.decide([Change("parameter", "TS_01", "reconstruct.binning", 8)], ANNA)
    decisions.undo(ANNA)
    assert [event.value for event in in_force(decisions.all())] == [4]


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object()], ids=["nan", "set", "object"])
def test_only_plain_data_are_kept(decisions, value):
    with pytest.raises(UserInputError, match="cannot be kept"):
        decisions.decide([*leave_out(1), Change("comment", "TS_01", "", value)], ANNA)
    assert decisions.all() == ()


def test_nothing_to_decide_is_refused(decisions):
    with pytest.raises(UserInputError, match="no decision was given"):
        decisions.decide([], ANNA)


def test_many_write_at_once_beside_a_coordinator(decisions, tmp_path):
    """Eight people decide while results are recorded: every event is there, with numbers of its own."""
    database = Database.open(tmp_path)
    run = database.begin_run("a", "smooth", 1, {}, None, {})
    failures = []

    def decide(who):
        try:
            for index in range(10):
                decisions.decide(leave_out(index, index + 100), Author(who))
        except Exception as failure:  # noqa: BLE001 - counted below
            failures.append(failure)

    people = [threading.Thread(target=decide, args=(f"user {i}",)) for i in range(8)]
    for thread in people:
        thread.start()
    for i in range(50):
        database.record_item(ItemRecord(run.id, f"TS_{i}", f"key {i}", "done", {"n": i}))
    for thread in people:
        thread.join()
    events = decisions.all()
    assert not failures
    assert [event.id for event in events] == list(range(1, 161))
    assert all(events[i].batch == events[i + 1].batch == events[i].id for i in range(0, 160, 2))
    assert len(database.items(run.id)) == 50
    database.close()


def test_a_killed_writer_leaves_all_of_its_batch_or_nothing(decisions, tmp_path):
    code = (
        "import os, sys, pathlib, cryoloom.store.decisions as d\n"
        "class Deadly:\n"
        "    def __iter__(self):\n"
        "        yield d.Change('tilt', 'TS_01', '1', {'keep': False})\n"
        "original = d._append\n"
        "def die(connection, *rest):\n"
        "    original(connection, *rest)\n"
        "    os.kill(os.getpid(), 9)\n"
        "d._append = die\n"
        "d.Decisions(pathlib.Path(sys.argv[1])).decide(Deadly(), d.Author('anna'))\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert decisions.all() == ()
    decisions.decide(leave_out(2), ANNA)
    assert targets(decisions) == ["2"]


def test_what_is_no_project_is_reported_and_not_made(tmp_path):
    with pytest.raises(UserInputError, match="is not a cryoloom project"):
        Decisions(tmp_path).decide(leave_out(1), ANNA)
    assert not list(tmp_path.iterdir())
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 100)
    with pytest.raises(UserInputError, match="cannot be read as a project database"):
        Decisions(tmp_path).all()


def test_tilts_as_the_engine_applies_them(decisions, tmp_path):
    decisions.decide(leave_out(10, 2), ANNA, "ice")
    decisions.decide([Change("tilt", "TS_00", "1", {"keep": True})], BO, "fine")
    database = Database.open(tmp_path)
    overrides = database.tilt_overrides()
    assert list(overrides) == ["TS_00", "TS_01"]
    assert [(o.acquisition_index, o.keep, o.reason, o.by.name) for o in overrides["TS_01"]] == [
        (2, False, "ice", "anna"),
        (10, False, "ice", "anna"),
    ]
    assert overrides["TS_00"][0].by.is_user
    database.close()


def test_values_are_readable_by_other_programs(decisions, tmp_path):
    decisions.decide(leave_out(3), ANNA)
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        (value,) = connection.execute("SELECT value FROM decisions").fetchone()
    assert json.loads(value) == {"keep": False}


def test_a_log_reads_what_was_added_and_knows_what_was_undone_since(tmp_path):
    Database.create(tmp_path).close()
    decisions, log, anna = Decisions(tmp_path), DecisionLog(), Author("anna")

    def agrees():
        with connected(tmp_path) as connection:
            found = log.read(connection)
        assert found == decisions.all()
        return found

    assert agrees() == ()
    decisions.decide([Change("tilt", "TS_1", str(i), {"keep": False}) for i in range(3)], anna)
    first = agrees()
    decisions.decide([Change("tilt", "TS_2", "0", {"keep": True})], anna)
    assert agrees()[:3] == first
    decisions.undo(anna)
    assert [event.is_undone for event in agrees()] == [False] * 3 + [True, False]
    decisions.undo(anna, 5)  # the undo itself
    assert not agrees()[3].is_undone


def test_a_log_is_read_anew_where_another_database_took_its_place(tmp_path):
    log = DecisionLog()
    for name, n in (("first", 3), ("second", 2)):
        (tmp_path / name).mkdir()
        Database.create(tmp_path / name).close()
        changes = [Change("comment", f"{name} {i}", "", "text") for i in range(n)]
        Decisions(tmp_path / name).decide(changes, Author("anna"))
        with connected(tmp_path / name) as connection:
            assert log.read(connection) == Decisions(tmp_path / name).all()
