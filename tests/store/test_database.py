"""The project's database: runs, items, parts of an item's work, and results that can be reused."""

from __future__ import annotations

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.store.database import Database
from cryoloom.store.records import FANNED_OUT, ItemRecord


@pytest.fixture
def database(tmp_path):
    database = Database.create(tmp_path)
    for node in ("source", "refine"):
        database.begin_run(node, node, 1, {}, None, {})
    return database


def work(name="all", run_id=2, **more):
    return ItemRecord(run_id, name, f"key of {name}", "done", value={FANNED_OUT: []}, **more)


def part(name, output="particles", **more):
    return ItemRecord(2, name, f"key of {name}", "done", value={"name": name}, output=output, **more)


def test_parts_are_found_by_the_item_that_gave_them(database):
    sources = tuple(database.record_item(work(name, run_id=1)) for name in ("TS_01", "TS_02"))
    item, parts = database.record_work(
        work(gathered=sources), [part("TS_02"), part("TS_01"), part("TS_01", "")]
    )
    assert [(p.output, p.name) for p in database.parts_of(item.id)] == [
        ("", "TS_01"),
        ("particles", "TS_01"),
        ("particles", "TS_02"),
    ]
    assert {p.part_of for p in parts} == {item.id}
    assert database.value_of(parts[0].id) == {"name": "TS_02"}
    assert [a.id for a in database.ancestors(parts[0])] == [item.id, *sources]
    assert database.count_states() == {1: {"done": 2}, 2: {"done": 1}}  # parts are not worked on
    assert database.known_keys()[2, "all"] == "key of all"
    assert database.find_result("key of TS_02").run_id == 1  # never a part


def test_a_part_that_is_not_given_again_is_left_out(database):
    first, _ = database.record_work(work(), [part("TS_01"), part("TS_02")])
    again, _ = database.record_work(work(), [part("TS_02")])
    assert again.id == first.id
    assert [p.name for p in database.parts_of(first.id)] == ["TS_02"]
    gone = next(item for item in database.items(2) if item.name == "TS_01")
    assert (gone.state, gone.reason) == ("left_out", "all no longer gives it")


def test_two_items_may_not_give_parts_of_one_name(database):
    database.record_work(work("one"), [part("TS_01")])
    with pytest.raises(DataUnfitError, match="'TS_01' was given twice"):
        database.record_work(work("two"), [part("TS_03"), part("TS_01")])
    assert "two" not in {item.name for item in database.items(2)}  # nothing of it is stored


def test_a_run_on_another_output_is_another_run(database):
    main = database.begin_run("extract", "extract", 1, {}, 2, {})
    side = database.begin_run("extract", "extract", 1, {}, 2, {}, outputs={"input": "particles"})
    assert main.id != side.id
    assert (
        database.begin_run("extract", "extract", 1, {}, 2, {}, outputs={"input": "particles"}).id == side.id
    )
    assert [run.outputs for run in database.runs()][-1] == {"input": "particles"}


def test_a_run_with_the_same_request_is_continued_and_numbers_are_never_reused(database):
    again = database.begin_run("refine", "refine", 1, {}, None, {})
    other = database.begin_run("refine", "refine", 1, {"box": 64}, None, {})
    assert (again.id, other.id) == (2, 3)
    database.delete_runs([3])
    assert [run.id for run in database.runs()] == [1, 2]
    assert database.begin_run("refine", "refine", 1, {"box": 96}, None, {}).id == 4


def test_a_result_is_found_by_its_key_until_it_is_withdrawn(database):
    database.record_item(ItemRecord(1, "TS_01", "abc", "done", value={"name": "TS_01"}))
    found = database.find_result("abc")
    assert (found.name, found.value) == ("TS_01", None)
    assert database.value_of(found.id) == {"name": "TS_01"}
    database.withdraw(1, "TS_01")
    assert database.find_result("abc") is None


def test_a_failed_item_takes_the_place_of_its_result(database):
    first = database.record_item(ItemRecord(1, "TS_01", "abc", "done", value={"name": "TS_01"}))
    second = database.record_item(ItemRecord(1, "TS_01", "abd", "failed", error={"message": "dark"}))
    assert first == second
    (item,) = database.items(1)
    assert (item.state, item.error) == ("failed", {"message": "dark"})
    assert database.find_result("abc") is None


def test_what_is_recorded_in_a_copy_stays_there(database):
    copy = database.copied_to_memory()
    copy.record_item(ItemRecord(1, "TS_01", "abc", "done", value={}))
    assert [item.name for item in copy.items(1)] == ["TS_01"]
    assert not list(database.items(1))


def test_a_database_opened_again_knows_what_was_recorded(database, tmp_path):
    plan = database.add_plan({"steps": []}, "cryoloom process raw")
    database.note_run_of_plan(plan, "refine", 2)
    database.end_run(2, "stopped")
    database.close()
    again = Database.open(tmp_path)
    assert again.last_plan().runs == {"refine": 2}
    assert [run.state for run in again.runs()] == ["running", "stopped"]
    again.forget_plan(plan)
    assert again.last_plan() is None
    again.close()
