"""The log of a project, of one item, and the history of a file."""

from __future__ import annotations

import json

import pytest

from cryoloom.errors import UserInputError


def test_a_file_is_traced_as_text_and_as_json(cryoloom, brighter):
    path = brighter.folder / "runs" / "003_smooth" / "TS_01" / "images.mrc"
    printed = cryoloom("log", "--file", str(path))
    assert "made by run 3 (smooth), TS_01" in printed
    assert "input run 2" in printed
    data = json.loads(cryoloom("log", "--file", str(path), "--json"))
    assert [each["name"] for each in data["steps"]] == ["find_series", "draw", "smooth"]
    assert data["steps"][1]["environment"]["python"]


def test_the_log_of_an_item_is_shown_as_it_is(cryoloom, brighter):
    printed = cryoloom("log", "--item", "TS_01", "--run", "draw")
    assert printed == brighter.item_log("draw", "TS_01").read_text()
    assert "n_included = 5" in printed
    assert cryoloom("log", "TS_01", "--run", "draw") == printed
    with pytest.raises(UserInputError, match="--run needs an item"):
        cryoloom("log", "--run", "draw")
    with pytest.raises(UserInputError, match="one item at a time: got TS_01 and --item TS_02"):
        cryoloom("log", "TS_01", "--item", "TS_02")


def test_without_a_run_the_latest_log_of_every_step_is_shown(cryoloom, brighter):
    printed = cryoloom("log", "TS_01")
    assert [line for line in printed.splitlines() if line.startswith("run ")] == [
        "run 3 smooth",
        "run 4 draw",
    ]
    assert brighter.item_log("draw", "TS_01").read_text() in printed
    assert cryoloom("log", "--item", "TS_01") == printed
    with pytest.raises(UserInputError, match="no run has an item 'TS_99'"):
        cryoloom("log", "TS_99")
