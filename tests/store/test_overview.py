"""Counts of a project, and the first failures of every run."""

from __future__ import annotations

from cryoloom.store.database import Database
from cryoloom.store.overview import overview_of
from cryoloom.store.reading import ProjectReader
from cryoloom.store.records import ItemRecord


def test_states_are_counted_and_first_failures_named(tmp_path):
    database = Database.create(tmp_path)
    for node in ("align", "reconstruct"):
        database.begin_run(node, node, 1, {}, None, {})
    error = {"kind": "DataUnfitError", "message": "too dark", "facts": {}}
    for run_id, name, state in (
        (1, "TS_03", "failed"),
        (1, "TS_01", "failed"),
        (1, "TS_02", "failed"),
        (1, "TS_04", "done"),
        (2, "TS_04", "done"),
    ):
        more = {"error": error} if state == "failed" else {"value": {}}
        database.record_item(ItemRecord(run_id, name, f"{run_id} {name}", state, **more))
    with ProjectReader(tmp_path) as reader:
        overview = overview_of(reader, most_failures=2)
        none = overview_of(reader, most_failures=0)
    assert [run.node for run in overview.runs] == ["align", "reconstruct"]
    assert overview.counts == {1: {"failed": 3, "done": 1}, 2: {"done": 1}}
    assert [item.name for item in overview.failures] == ["TS_01", "TS_02"]
    assert (none.failures, none.counts) == ((), overview.counts)
