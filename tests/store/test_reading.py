"""The reader tells what was recorded, without the mapper and while others write."""

import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cryoloom.errors import TransientError, UserInputError
from cryoloom.store.database import Database
from cryoloom.store.decisions import Author
from cryoloom.store.names import FILE_NAME
from cryoloom.store.reading import ProjectReader
from cryoloom.store.records import FileRecord, ItemRecord
from makers.old_projects import project_with_choices_of_version_3

STARTED = datetime(2026, 11, 28, 12, 30, 0, 250, UTC)


@pytest.fixture
def project(tmp_path):
    database = Database.create(tmp_path)
    database.add_plan({"name": "w", "steps": [{"name": "a"}, {"name": "b"}]}, "cryoloom process")
    first = database.begin_run("a", "smooth", 1, {"strength": 2.0}, None, {"host": "here"})
    second = database.begin_run("b", "count", 1, {}, first.id, {}, {"other": first.id}, {"input": "side"})
    for i in range(5):
        state = "failed" if i % 2 else "done"
        error = {"kind": "DataUnfitError", "message": f"too few tilts: {i}"} if i % 2 else None
        database.record_item(ItemRecord(first.id, f"TS_{i}", f"key {i}", state, error=error))
    database.record_item(ItemRecord(second.id, "TS_0", "key", "left_out", reason="dark"))
    database.end_run(first.id, "failed")
    with ProjectReader(tmp_path) as reader:
        yield reader, database
    database.close()


def test_a_run_is_timed_by_its_items(tmp_path):
    """Two at once for 10 s, a pause of an hour, 5 s more; neither parts of work nor what was taken over."""
    database = Database.create(tmp_path)
    run = database.begin_run("a", "smooth", 1, {}, None, {})
    again = database.begin_run("b", "smooth", 1, {"strength": 2.0}, None, {})
    starts = {"TS_1": (0, 10.0), "TS_2": (2, 8.0), "TS_3": (3600, 5.0)}
    for name, (after, seconds) in starts.items():
        begun = STARTED + timedelta(seconds=after)
        item = ItemRecord(run.id, name, name, "done", value={}, started=begun, seconds=seconds)
        first = database.record_item(item)
    part = ItemRecord(run.id, "TS_1", "p", "done", value={}, started=STARTED, seconds=9e5, output="side")
    database.record_item(replace(part, part_of=first))
    old = ItemRecord(again.id, "TS_1", "o", "done", value={}, started=STARTED, seconds=9.0)
    database.record_item(replace(old, reused_from=first))
    with ProjectReader(tmp_path) as reader:
        times = reader.work_times()
    assert set(times) == {run.id}
    assert times[run.id].busy_s == pytest.approx(15.0, abs=0.01)
    assert abs((times[run.id].begin - STARTED).total_seconds()) < 0.01
    assert (times[run.id].end - times[run.id].begin).total_seconds() == pytest.approx(3605.0, abs=0.01)
    database.close()


def test_runs_plans_and_numbers(project):
    reader, database = project
    first, second = reader.runs()
    assert (first.node, first.step, first.parameters, first.state) == (
        "a",
        "smooth",
        {"strength": 2.0},
        "failed",
    )
    assert first.ended.tzinfo is UTC
    assert (second.input_run_id, second.links, second.outputs) == (1, {"other": 1}, {"input": "side"})
    assert second.ended is None
    assert second.state == "running"
    assert reader.last_plan().workflow["steps"] == [{"name": "a"}, {"name": "b"}]
    assert reader.count_states() == {1: {"done": 3, "failed": 2}, 2: {"left_out": 1}}
    assert [one.name for one in reader.failures(1, 1)] == ["TS_1"]
    assert reader.failures(1, 9)[1].error["message"] == "too few tilts: 3"
    assert reader.names() == tuple(f"TS_{i}" for i in range(5))
    assert reader.runs() == database.runs()


def test_an_item_comes_back_as_it_was_recorded(project):
    reader, database = project
    item = ItemRecord(
        run_id=2,
        name="TS_4",
        key="abc",
        state="done",
        value={"$type": "TiltSeries", "tilts": [1.5]},
        figures={"mean": 2.5},
        not_measurable={"resolution": "no rings"},
        records={"curve": [1, 2]},
        warnings=("look at it",),
        files=(FileRecord("images", Path("runs/002_b/TS_4/images.mrc"), 12),),
        started=STARTED,
        seconds=1.5,
        device="cuda:0",
        host="node1",
        input_item_id=5,
        other_inputs={"other": 1},
        gathered=(1, 3),
        own_parameters={"width": 3},
        made_from={"inputs": {"input": "key 4"}, "decisions": []},
    )
    item_id = database.record_item(item)
    expected = {name: getattr(item, name) for name in item.__slots__} | {"id": item_id}
    assert reader.item(item_id) == ItemRecord(**expected)
    assert reader.items(2)[-1] == ItemRecord(**expected | {"records": {}})
    assert reader.items_named("TS_4", with_values=False)[-1].value is None
    assert reader.value_of(item_id) == item.value
    assert [one.name for one in reader.ancestors(item)] == ["TS_4", "TS_0", "TS_2"]
    assert reader.item_of_file(Path("runs/002_b/TS_4/images.mrc")).id == item_id
    assert reader.files_of_length(12) == ((item_id, Path("runs/002_b/TS_4/images.mrc")),)


def test_nothing_can_be_written_through_it(project):
    reader, _ = project
    with reader._reading() as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM items")


def test_every_thread_reads_while_others_write(project):
    reader, database = project
    seen = []

    def look():
        seen.extend(len(reader.items(2)) for _ in range(20))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(20):
        database.record_item(ItemRecord(2, f"new {i}", "key", "done", {}))
    for thread in threads:
        thread.join()
    assert len(seen) == 80
    assert len(reader.items(2)) == 21


def test_an_older_project_is_brought_up_to_date(tmp_path):
    folder = project_with_choices_of_version_3(tmp_path / "old")
    with ProjectReader(folder) as reader:
        assert {event.who for event in reader.decisions() if event.kind == "tilt"} == {"anna"}
        assert len(reader.items()) == 13
        assert reader.items(1)[0].made_from is None


def test_a_folder_without_a_project_and_a_broken_file_are_reported(tmp_path):
    with pytest.raises(UserInputError, match="not a cryoloom project"):
        ProjectReader(tmp_path)
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 100)
    with pytest.raises(UserInputError, match="cannot be read as a project database"):
        ProjectReader(tmp_path)


def test_neither_reading_nor_deciding_imports_what_takes_long():
    code = (
        "import sys, cryoloom.store.reading, cryoloom.store.curation\n"
        "print([m for m in ('torch', 'numba', 'scipy', 'dask', 'sqlalchemy', 'numpy') if m in sys.modules])"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "[]"


def test_what_is_decided_is_read(project):
    from cryoloom.store.curation import Curation

    reader, _ = project
    curation = Curation(reader.folder, Author("anna", page="/runs"))
    curation.comment("run:1", "bright")
    curation.comment("TS_1", "ice on it", tilt=None)
    assert [run.comment for run in reader.runs()] == ["bright", ""]
    curation.undo()
    curation.undo()
    assert [run.comment for run in reader.runs()] == ["", ""]
    with pytest.raises(UserInputError, match="there is no run 7"):
        curation.comment("run:7", "nothing")
    with pytest.raises(UserInputError, match=r"there is no series 'TS_9'; did you mean TS_"):
        curation.exclude("TS_9", [1])
    with pytest.raises(UserInputError, match="TS_1 has no tilts yet"):
        curation.exclude("TS_1", [1])


def test_a_reader_is_closed_while_another_thread_reads(project):
    """SQLite crashes where a connection is closed under a thread that reads from it."""
    reader, _ = project
    reading, go_on, ended = threading.Event(), threading.Event(), []

    def read() -> None:
        with reader._reading() as connection:
            reading.set()
            go_on.wait(10)
            ended.append(connection.execute("SELECT count(*) FROM items").fetchone()[0])

    thread = threading.Thread(target=read)
    thread.start()
    reading.wait(10)
    reader.close()
    go_on.set()
    thread.join(10)
    assert ended == [6]
    with pytest.raises(TransientError, match="was closed; open the project again"):
        reader.runs()
