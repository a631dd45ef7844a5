"""The current workflow from requests: the last whole one, with what was run by hand on its results."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryoloom.store.current_nodes import current_nodes
from cryoloom.store.records import PlanRecord, RunRecord

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def run(number, node, input_run=None, links=None):
    return RunRecord(
        number, node, node, 1, {}, input_run, "done", NOON + timedelta(minutes=number),
        NOON + timedelta(minutes=number + 0.5), {}, links=links or {},
    )  # fmt: skip


def node(name, source=None, **more):
    return {"name": name, "step": name, "input": source, "parameters": {}, **more}


def plan(number, *steps, runs=None):
    return PlanRecord(number, NOON + timedelta(minutes=10 * number), {"steps": list(steps)}, "", runs or {})


WHOLE = plan(1, node("find"), node("draw", "find"), runs={"find": 1, "draw": 2})
RUNS = [run(1, "find"), run(2, "draw", 1)]


def shape(nodes):
    return [(one.name, dict(one.feeds), one.run_id, one.items) for one in nodes]


def test_a_step_by_hand_on_results_is_appended_and_stays_with_the_next_whole_workflow():
    by_hand = plan(2, node("smooth", "run:2"), runs={"smooth": 3})
    runs = [*RUNS, run(3, "smooth", 2)]
    expected = [
        ("find", {}, 1, ()),
        ("draw", {"input": ("find", "")}, 2, ()),
        ("smooth", {"input": ("draw", "")}, 3, ()),
    ]
    assert shape(current_nodes([WHOLE, by_hand], runs)) == expected
    again = plan(3, node("find"), node("draw", "find"), runs={"find": 4, "draw": 5})
    more = [*runs, run(4, "find"), run(5, "draw", 4)]
    assert [one.run_id for one in current_nodes([WHOLE, by_hand, again], more)] == [4, 5, 3]
    # Another workflow without the node that it worked on: it is over.
    other = plan(4, node("find"), node("paint", "find"), runs={"find": 6})
    assert [one.name for one in current_nodes([WHOLE, by_hand, other], [*more, run(6, "find")])] == [
        "find", "paint",
    ]  # fmt: skip


def test_what_works_on_earlier_results_is_no_part_of_it():
    newer = plan(2, node("find"), node("draw", "find"), runs={"find": 1, "draw": 3})
    experiment = plan(3, node("smooth", "run:2"), runs={"smooth": 4})
    runs = [*RUNS, run(3, "draw", 1), run(4, "smooth", 2)]
    assert [one.name for one in current_nodes([WHOLE, newer, experiment], runs)] == ["find", "draw"]
    unknown = plan(3, node("smooth", "run:77"), runs={"smooth": 4})
    assert [one.name for one in current_nodes([WHOLE, unknown], runs)] == ["find", "draw"]


def test_items_run_by_hand_add_up_and_the_node_of_all_keeps_its_run():
    some = plan(2, node("smooth", "run:2", items=["TS_01"]), runs={"smooth": 3})
    more = plan(3, node("smooth", "run:2", items=["TS_02", "TS_01"]), runs={"smooth": 4})
    runs = [*RUNS, run(3, "smooth", 2), run(4, "smooth", 2)]
    found = current_nodes([WHOLE, some, more], runs)
    assert shape(found)[-1] == ("smooth", {"input": ("draw", "")}, 3, ("TS_01", "TS_02"))
    fixed = plan(4, node("draw", "run:1", items=["TS_03"]), runs={"draw": 5})
    assert current_nodes([WHOLE, fixed], [*RUNS, run(5, "draw", 1)])[1].run_id == 2


def test_outputs_and_further_inputs_are_followed():
    steps = (node("find"), node("split", "find"), node("join", "split.odd", links={"second": "split.even"}))
    found = current_nodes([plan(1, *steps)], [])
    assert dict(found[-1].feeds) == {"input": ("split", "odd"), "second": ("split", "even")}
    assert [one.run_id for one in found] == [None] * 3


def test_a_project_without_requests_is_read_from_its_runs():
    runs = [*RUNS, run(3, "draw", 1), run(4, "merge", 3, {"second": 1})]
    assert shape(current_nodes([], runs)) == [
        ("find", {}, 1, ()),
        ("draw", {"input": ("find", "")}, 3, ()),
        ("merge", {"input": ("draw", ""), "second": ("find", "")}, 4, ()),
    ]


def test_runs_of_an_older_plan_are_those_before_the_next_one():
    old = [plan(1, node("find"), node("draw", "find")), plan(2, node("find"), node("draw", "find"))]
    runs = [run(11, "find"), run(12, "draw", 11), run(21, "find"), run(22, "draw", 21)]
    assert [one.run_id for one in current_nodes(old, runs)] == [21, 22]
    # A request that began no runs of its own went on with those before.
    assert [one.run_id for one in current_nodes(old, runs[:2])] == [11, 12]
