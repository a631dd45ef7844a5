"""Tilts and series are taken in again, whatever a step finds."""

from __future__ import annotations

import json


def test_a_series_left_out_is_taken_in_again(cryoloom):
    cryoloom("exclude", "TS_03", "--reason", "wrong square")
    assert "left out" in cryoloom("status")
    cryoloom("include", "TS_03")
    assert "left out" not in cryoloom("status")


def test_a_tilt_is_kept_with_its_reason(cryoloom):
    printed = cryoloom("include", "TS_01", "2", "--reason", "only dim")
    assert "TS_01: keep tilt 2: only dim" in printed
    (event,) = [json.loads(line) for line in cryoloom("decisions", "--json").splitlines()]
    assert (event["item"], event["target"], event["value"]) == ("TS_01", "2", {"keep": True})
