"""Tilts and series are left out by hand, and lists of views from a file all or none."""

from __future__ import annotations

import json

import pytest

from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError


def test_views_of_a_text_file_are_left_out_together(cryoloom, tmp_path):
    views = tmp_path / "views.txt"
    views.write_text("TS_01 1\nTS_02 1,9\n")
    with pytest.raises(UserInputError, match="TS_02 has no view 9; expected 1"):
        cryoloom("exclude", "--views-file", str(views))
    assert cryoloom("decisions") == ""
    views.write_text("TS_01 1\nTS_02 1-2\n")
    cryoloom("exclude", "--views-file", str(views), "--reason", "dark")
    events = [json.loads(line) for line in cryoloom("decisions", "--json").splitlines()]
    ordered = {
        item.name: [tilt["acquisition_index"] for tilt in item.value["tilts"]]
        for item in Project.open("p").database.items(1)
    }
    assert [(e["item"], int(e["target"])) for e in events] == [
        ("TS_01", ordered["TS_01"][0]),
        ("TS_02", ordered["TS_02"][0]),
        ("TS_02", ordered["TS_02"][1]),
    ]
    with pytest.raises(UserInputError, match="got both"):
        cryoloom("exclude", "TS_01", "--views-file", str(views))


def test_a_tilt_that_is_not_there_is_refused(cryoloom):
    with pytest.raises(UserInputError, match="77"):
        cryoloom("exclude", "TS_01", "77")
    with pytest.raises(UserInputError, match="TS_99"):
        cryoloom("exclude", "TS_99", "1")
    assert cryoloom("decisions") == ""


def test_a_whole_series_is_left_out_and_nothing_else(cryoloom):
    cryoloom("exclude", "TS_02", "--reason", "wrong square")
    states = {one["item"]: one["state"] for one in map(json.loads, cryoloom("status", "--json").splitlines())}
    assert states == {"TS_01": "current", "TS_02": "left_out", "TS_03": "current"}
