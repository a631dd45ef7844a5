"""States of items at one node after another, and what of them is found again after a change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cryoloom.store.current_finder import CurrentFinder, own_parameters_of, tilt_decisions_of
from cryoloom.store.current_nodes import CurrentNode
from cryoloom.store.decisions import Decision
from cryoloom.store.records import ItemRecord, RunRecord

WHEN = datetime(2026, 11, 28, 12, 30, tzinfo=UTC)
RUNS = {
    1: RunRecord(1, "find", "find", 1, {}, None, "done", WHEN, WHEN, {}),
    2: RunRecord(2, "align", "align", 1, {"side": 1}, 1, "done", WHEN, WHEN, {}),
}
NODES = (
    CurrentNode("find", "find", {}, {}, 1),
    CurrentNode("align", "align", {}, {"input": ("find", "")}, 2),
)


def decided(kind, item, target, value, number=1):
    return Decision(number, number, kind, item, target, value, "anna", "user", "page", "drift", WHEN)


def found(name, item_id=1, key="f"):
    return ItemRecord(1, name, key, "done", id=item_id, started=WHEN)


def aligned(name, item_id=2, key="a", source="f", **more):
    made_from = {"inputs": {"input": {name: source}}, "decisions": {}}
    return ItemRecord(2, name, key, "done", id=item_id, started=WHEN, made_from=made_from, **more)


@pytest.fixture
def finder():
    one = CurrentFinder(RUNS, [found("TS_1"), aligned("TS_1"), found("TS_2", 3), aligned("TS_2", 4)], [])
    one.find(NODES)
    return one


def states(finder, name):
    return [finder.standings[node.name][name].state for node in NODES]


def test_a_changed_input_makes_what_follows_outdated(finder):
    assert states(finder, "TS_1") == ["current", "current"]
    assert finder.update(NODES, {1: found("TS_1", key="other")}, {}) == {"TS_1"}
    assert states(finder, "TS_1") == ["current", "outdated"]
    assert finder.standings["align"]["TS_1"].why == "the previous step is recomputed"
    assert states(finder, "TS_2") == ["current", "current"]


def test_decisions_and_parameters_of_one_item(finder):
    tilt = decided("tilt", "TS_2", "3", {"keep": False})
    finder.update(NODES, {}, {"TS_2": [tilt]})
    assert finder.standings["align"]["TS_2"].why == "decisions are not applied yet"
    finder.update(NODES, {}, {"TS_2": [decided("parameter", "TS_2", "align.side", 5)]})
    assert finder.standings["align"]["TS_2"].why == "other parameters are requested"
    finder.update(NODES, {}, {"TS_2": [decided("series", "TS_2", "", {"keep": False})]})
    assert finder.standings["find"]["TS_2"].why == "left out by anna: drift"
    assert "TS_2" not in finder.standings["align"]
    finder.update(NODES, {}, {"TS_2": []})
    assert states(finder, "TS_2") == ["current", "current"]


def test_a_deleted_item_is_pending_again(finder):
    finder.update(NODES, {2: None}, {})
    assert states(finder, "TS_1") == ["current", "pending"]
    finder.update(NODES, {1: None}, {})
    assert "TS_1" not in finder.standings["find"]
    assert "TS_1" not in finder.standings["align"]


def test_what_cannot_be_followed_is_found_anew(finder):
    """A node that begins to gather takes all items at once."""
    assert finder.update(NODES, {5: aligned("all", 5, gathered=(1, 3))}, {}) is None


def test_decisions_by_item():
    tilts = [decided("tilt", "TS_1", "7", {"keep": True}), decided("tilt", "TS_1", "3", {"keep": False})]
    assert tilt_decisions_of(tilts) == {"TS_1": [[3, False, "drift"], [7, True, "drift"]]}
    own = [decided("parameter", "TS_1", "align.side", 5), decided("parameter", "TS_1", "note", 1)]
    assert own_parameters_of(own) == {("TS_1", "align"): {"side": 5}}
