"""The last decision, or one by its number, is taken back; an undo too."""

from __future__ import annotations

import pytest

from cryoloom.errors import UserInputError


def test_the_last_decision_is_taken_back_first(cryoloom):
    cryoloom("exclude", "TS_01", "1")
    cryoloom("exclude", "TS_02", "2")
    assert "TS_02: leave out tilt 2" in cryoloom("undo")
    listed = cryoloom("decisions")
    assert "TS_01: leave out tilt 1" in listed
    assert "TS_02" not in listed


def test_a_decision_is_taken_back_by_its_number(cryoloom):
    cryoloom("exclude", "TS_01", "1")
    cryoloom("exclude", "TS_02", "2")
    first = min(int(line.split()[0].strip("#")) for line in cryoloom("decisions").splitlines())
    assert "TS_01: leave out tilt 1" in cryoloom("undo", str(first))
    assert "TS_02: leave out tilt 2" in cryoloom("decisions")


def test_nothing_to_undo_is_said(cryoloom):
    with pytest.raises(UserInputError, match="nothing here that could be undone"):
        cryoloom("undo")
