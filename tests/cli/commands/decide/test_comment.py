"""Comments of runs, series and tilts."""

from __future__ import annotations

import json

import pytest

from cryoloom.errors import UserInputError


def test_comments_of_runs_series_and_tilts(cryoloom):
    cryoloom("comment", "smooth", "too smooth")
    cryoloom("comment", "TS_01", "a nice one")
    cryoloom("comment", "TS_01", "crystal", "--tilt", "2")
    assert "# too smooth" in cryoloom("log")
    listed = cryoloom("decisions", "--series", "TS_01")
    assert "TS_01: a nice one" in listed
    assert "TS_01 tilt 2: crystal" in listed
    with pytest.raises(UserInputError, match="there is no run 'smoth'"):
        cryoloom("comment", "smoth", "which?")


def test_a_comment_shows_in_the_log(cryoloom, brighter):
    cryoloom("comment", "2", "too faint")
    line = next(line for line in cryoloom("log").splitlines() if "run   2" in line)
    assert line.endswith("# too faint")
    facts = [json.loads(line) for line in cryoloom("log", "--json").splitlines()]
    assert [(fact["run"], fact["comment"]) for fact in facts] == [(1, ""), (2, "too faint"), (3, ""), (4, "")]
