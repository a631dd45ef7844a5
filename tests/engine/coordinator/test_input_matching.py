"""Which work a node can do when an item arrives: of one name, shared by all, or all of an input."""

from __future__ import annotations

import pytest

from cryoloom.engine.coordinator.input_matching import InputMatcher, WorkItem
from cryoloom.engine.graph.workflow import INPUT, Workflow
from cryoloom.errors import UserInputError
from cryoloom.store.records import ItemRecord
from makers.fakes import fake_steps

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


def item(name, id, **more):
    return ItemRecord(run_id=1, name=name, key=f"key {id}", state="done", value={"n": id}, id=id, **more)


def matcher(*steps):
    workflow = Workflow.model_validate({"name": "graph", "steps": list(steps)})
    return InputMatcher(workflow), workflow


def names(work):
    return [(one.node.name, one.name) for one in work]


def two_branches(**second):
    return matcher(
        {"step": "find_series"},
        {"step": "draw"},
        {"step": "smooth"},
        {"step": "merge", "input": "draw", "second_from": "smooth", **second},
    )


def test_an_item_of_one_input_is_work_at_once():
    made, workflow = matcher({"step": "find_series"}, {"step": "draw"})
    (work,) = made.offer(workflow.node("draw"), INPUT, item("TS_01", 4))
    assert (work.name, work.input_item_id, work.gathered, work.other_item_ids) == ("TS_01", 4, (), {})


def test_two_inputs_wait_for_the_item_of_the_same_name():
    made, workflow = two_branches()
    merge = workflow.node("merge")
    assert names(made.offer(merge, INPUT, item("TS_01", 1))) == []
    assert names(made.offer(merge, "second_from", item("TS_02", 2))) == []
    (work,) = made.offer(merge, "second_from", item("TS_01", 3))
    assert (work.name, work.input_item_id, work.other_item_ids) == ("TS_01", 1, {"second_from": 3})
    assert [one.id for one in work.items] == [1, 3]


def test_what_still_waits_is_named_with_what_it_lacks():
    made, workflow = two_branches()
    list(made.offer(workflow.node("merge"), INPUT, item("TS_01", 1)))
    assert [(node.name, name, lacks) for node, name, _, lacks in made.waiting()] == [
        ("merge", "TS_01", ["second_from"])
    ]
    list(made.offer(workflow.node("merge"), "second_from", item("TS_01", 2)))
    assert list(made.waiting()) == []


def test_items_that_a_node_does_not_take_are_passed_over():
    made, workflow = two_branches(items=["TS_02"])
    merge = workflow.node("merge")
    for role in (INPUT, "second_from"):
        assert names(made.offer(merge, role, item("TS_01", 1))) == []
    assert list(made.waiting()) == []


def test_the_item_of_an_earlier_run_pairs_again_when_the_other_is_made_anew():
    """A series that is reopened while it is acquired: its input comes twice, the earlier run's item once."""
    made, workflow = matcher(
        {"step": "find_series"},
        {"step": "draw"},
        {"step": "merge", "input": "draw", "second_from": "run:3"},
    )
    merge = workflow.node("merge")
    list(made.offer(merge, "second_from", item("TS_01", 9)))
    assert names(made.offer(merge, INPUT, item("TS_01", 1))) == [("merge", "TS_01")]
    (again,) = made.offer(merge, INPUT, item("TS_01", 2))
    assert (again.input_item_id, again.other_item_ids) == (2, {"second_from": 9})


GATHERING = (
    {"step": "find_series"},
    {"step": "draw"},
    {"step": "average_all", "parameters": {"name": "mine"}},
    {"step": "subtract_average", "input": "draw", "average_from": "average_all"},
)


def test_a_gathering_node_waits_for_the_end_and_takes_all_by_name():
    made, workflow = matcher(*GATHERING)
    node = workflow.node("average_all")
    assert made.waits_for_the_end("average_all")
    assert not made.waits_for_the_end("subtract_average")
    for name, id in (("TS_02", 2), ("TS_01", 1)):
        assert names(made.offer(node, INPUT, item(name, id))) == []
    assert made.gatherings == {"average_all"}
    (work,) = made.gather(node)
    assert (work.name, work.gathered) == ("mine", (1, 2))  # named by its parameter, sorted by name
    assert work.input_item_id is None
    assert made.gatherings == set()
    assert made.gathered_names("average_all") == {"TS_01", "TS_02"}


def test_values_are_not_held_while_items_wait_to_be_gathered():
    made, workflow = matcher(*GATHERING)
    list(made.offer(workflow.node("average_all"), INPUT, item("TS_01", 1, records={"curve": [1]})))
    (work,) = made.gather(workflow.node("average_all"))
    assert work.items[0].value is None
    assert work.items[0].records == {}


def test_an_item_with_a_new_state_is_no_longer_gathered():
    made, workflow = matcher(*GATHERING)
    for name, id in (("TS_01", 1), ("TS_02", 2)):
        list(made.offer(workflow.node("average_all"), INPUT, item(name, id)))
    list(made.gather(workflow.node("average_all")))
    made.forget("draw", item("TS_01", 1))
    assert made.gatherings == {"average_all"}  # something changed: it gathers again
    (work,) = made.gather(workflow.node("average_all"))
    assert work.gathered == (2,)


def test_a_shared_item_completes_those_that_wait_and_those_that_come_later():
    made, workflow = matcher(*GATHERING)
    node = workflow.node("subtract_average")
    assert names(made.offer(node, INPUT, item("TS_01", 1))) == []
    assert [lacks for *_, lacks in made.waiting()] == [["average_from"]]
    assert names(made.offer(node, "average_from", item("all", 7))) == [("subtract_average", "TS_01")]
    (later,) = made.offer(node, INPUT, item("TS_02", 2))
    assert later.other_item_ids == {"average_from": 7}
    # A new average, of more series: all are done again with it.
    again = list(made.offer(node, "average_from", item("all", 8)))
    assert [(work.name, work.other_item_ids["average_from"]) for work in again] == [
        ("TS_01", 8),
        ("TS_02", 8),
    ]


def test_two_different_shared_items_are_refused():
    made, workflow = matcher(*GATHERING)
    node = workflow.node("subtract_average")
    list(made.offer(node, "average_from", item("ribosome", 7)))
    with pytest.raises(UserInputError, match="gives ribosome and proteasome; choose one with `items:`"):
        list(made.offer(node, "average_from", item("proteasome", 8)))


def test_all_items_of_a_further_input_are_named_by_role_and_name():
    made, workflow = matcher(
        {"step": "find_series"}, {"step": "draw"}, {"step": "compare_all", "all_from": "draw"}
    )
    node = workflow.node("compare_all")
    for name, id in (("TS_01", 1), ("TS_02", 2)):
        list(made.offer(node, "all_from", item(name, id)))
    list(made.offer(node, INPUT, item("TS_02", 2)))
    (work,) = made.gather(node)
    assert work.other_item_ids == {"all_from:TS_01": 1, "all_from:TS_02": 2}


def test_work_of_no_recorded_items_has_no_ids():
    _, workflow = matcher({"step": "find_series"}, {"step": "draw"})
    work = WorkItem(workflow.node("draw"), "TS_01", {INPUT: (item("TS_01", None),)})
    assert work.gathered == ()
    assert work.input_item_id is None
