"""Evidence of the newest import of each series, and its lines for a terminal."""

from cryoloom.engine.history.evidence import evidence_by_series, explained
from cryoloom.model.evidence import Evidence, Source
from cryoloom.store.records import ItemRecord


def imported(run_id, name, axis, why_not=""):
    evidence = Evidence(
        "tilt axis, degrees",
        axis,
        "user",
        (Source("user", axis), Source("mdoc title", 85.0, why_not)),
        "a note",
    )
    records = {"import": {"evidence": [evidence.as_json()]}}
    return ItemRecord(run_id=run_id, name=name, key="k", state="done", records=records)


def test_the_newest_import_counts():
    items = [
        imported(1, "TS_01", 85.0),
        imported(3, "TS_01", 84.0),
        imported(2, "TS_02", 83.0),
        ItemRecord(run_id=4, name="TS_01", key="k", state="done", records={"tilt_quality": {}}),
        ItemRecord(run_id=5, name="TS_02", key="k", state="done", records={"import": {"mdoc": None}}),
    ]
    assert {name: one[0].value for name, one in evidence_by_series(items).items()} == {
        "TS_01": 84.0,
        "TS_02": 83.0,
    }


def test_lines_say_who_decided_and_what_was_not_counted():
    assert explained([imported(1, "TS_01", 84.0, "the user's counts")], ["TS_01"]) == [
        "TS_01",
        "  tilt axis, degrees: 84 (by user)",
        "    * user: 84",
        "    - mdoc title: 85  [not counted: the user's counts]",
        "    ! a note",
    ]
    assert explained([imported(1, "TS_01", 84.0)], ["TS_02"]) == []
