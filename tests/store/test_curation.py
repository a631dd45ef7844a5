"""Decisions of a person, checked against what the project holds."""

from __future__ import annotations

import pytest

from cryoloom.errors import UserInputError
from cryoloom.model import Microscope, Tilt, TiltSeries
from cryoloom.store.codec import encode
from cryoloom.store.curation import Curation
from cryoloom.store.database import Database
from cryoloom.store.decisions import Author, Decisions
from cryoloom.store.records import ItemRecord

TILTS = (Tilt(2, -3.0, 6.0, 9.0), Tilt(0, 0.0, 0.0, 3.0), Tilt(1, 3.0, 3.0, 6.0))


@pytest.fixture
def folder(tmp_path):
    database = Database.create(tmp_path)
    database.begin_run("import", "import_movies", 1, {}, None, {})
    for name in ("TS_01", "TS_02"):
        value = encode(TiltSeries(name, Microscope(), 1.35, TILTS), tmp_path)
        database.record_item(ItemRecord(1, name, f"key {name}", "done", value=value))
    database.record_item(
        ItemRecord(1, "TS_03", "key TS_03", "failed", error={"kind": "X", "message": "", "facts": {}})
    )
    return tmp_path


@pytest.fixture
def curation(folder):
    return Curation(folder, Author("ada"))


def decided(folder):
    return [(d.kind, d.item, d.target, d.value, d.why) for d in Decisions(folder).all()]


def test_tilts_are_excluded_and_kept_by_acquisition_index(folder, curation):
    curation.exclude("TS_01", [2, 0], "ice")
    curation.include("TS_01", [1])
    assert decided(folder) == [
        ("tilt", "TS_01", "0", {"keep": False}, "ice"),
        ("tilt", "TS_01", "2", {"keep": False}, "ice"),
        ("tilt", "TS_01", "1", {"keep": True}, "kept by hand"),
    ]


def test_views_count_from_the_lowest_tilt_and_are_decided_together(folder, curation):
    batch = curation.exclude_views({"TS_01": [1], "TS_02": [3, 3]})
    assert len({decision.batch for decision in batch}) == 1
    assert [(d[1], d[2]) for d in decided(folder)] == [("TS_01", "2"), ("TS_02", "1")]


def test_one_wrong_view_excludes_none(folder, curation):
    with pytest.raises(UserInputError, match=r"TS_02 has no view 4; expected 1 \(the lowest tilt\) to 3"):
        curation.exclude_views({"TS_01": [1], "TS_02": [4]})
    with pytest.raises(UserInputError, match="nothing to exclude"):
        curation.exclude_views({})
    assert decided(folder) == []


def test_whole_series_and_comments(folder, curation):
    curation.exclude_series("TS_02", "cracked")
    curation.include_series("TS_02")
    curation.comment("TS_01", "nice")
    curation.comment("TS_01", "crack", tilt=2)
    curation.comment("run:1", "first try")
    assert [d[:4] for d in decided(folder)] == [
        ("series", "TS_02", "", {"keep": False}),
        ("series", "TS_02", "", {"keep": True}),
        ("comment", "TS_01", "", "nice"),
        ("comment", "TS_01", "2", "crack"),
        ("comment", "run:1", "", "first try"),
    ]


@pytest.mark.parametrize(
    ("decide", "message"),
    [
        (lambda c: c.exclude("TS_01", [5]), r"TS_01 has no tilt of acquisition index \[5\]; expected 0 to 2"),
        (lambda c: c.exclude("TS_1", [0]), "there is no series 'TS_1'; did you mean TS_0"),
        (lambda c: c.exclude_series("grid"), "this project has TS_01, TS_02, TS_03"),
        (lambda c: c.exclude("TS_03", [0]), "TS_03 has no tilts yet: it could not be imported"),
        (lambda c: c.comment("run:9", "x"), "there is no run 9"),
    ],
)
def test_what_the_project_does_not_hold_is_refused(folder, curation, decide, message):
    with pytest.raises(UserInputError, match=message):
        decide(curation)
    assert decided(folder) == []


def test_the_last_batch_is_undone(folder, curation):
    curation.exclude("TS_01", [0])
    curation.undo(why="a mistake")
    assert decided(folder)[-1][4] == "a mistake"
