"""Decisions are listed as they were made."""

from __future__ import annotations

import json


def test_decisions_are_made_shown_and_undone(cryoloom):
    printed = cryoloom("exclude", "TS_02", "1", "3", "--reason", "ice")
    assert "TS_02: leave out tilt 1: ice" in printed
    assert "`cryoloom resume --project p`" in printed
    status = cryoloom("status")
    assert "not applied yet: TS_02: leave out tilt 3: ice" in status
    assert "1 to bring up to date: `cryoloom resume --project p`" in status
    rows = [[cell.strip() for cell in line.split("│")[1:4]] for line in status.splitlines() if "│" in line]
    assert ["TS_02", "draw", "outdated"] in rows
    assert "running" not in status
    cryoloom("resume")
    assert "not applied" not in cryoloom("status")
    listed = cryoloom("decisions")
    assert "TS_02: leave out tilt 1: ice" in listed
    assert "command line" in listed
    events = [json.loads(line) for line in cryoloom("decisions", "--json").splitlines()]
    assert [(e["kind"], e["item"], e["target"], e["value"]) for e in events] == [
        ("tilt", "TS_02", "1", {"keep": False}),
        ("tilt", "TS_02", "3", {"keep": False}),
    ]
    assert "taken back: TS_02: leave out tilt 1" in cryoloom("undo")
    assert cryoloom("decisions") == ""
    assert "(undone)" in cryoloom("decisions", "--all")
    cryoloom("exclude", "TS_03", "--reason", "wrong square")
    assert "left out" in cryoloom("status")
    cryoloom("include", "TS_03")
    assert "left out" not in cryoloom("status")
