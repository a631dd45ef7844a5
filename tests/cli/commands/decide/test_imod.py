"""IMOD's windows from the command line: what was taken back, and what failed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cryoloom.engine import imod_session


@pytest.fixture
def opened(monkeypatch):
    """What the session is asked for, and how it ends."""

    def ends(**made):
        asked = {}

        def open_in_imod(project, item, input, *, take_back):
            asked.update(item=item, input=input, take_back=take_back)
            return SimpleNamespace(**{"folder": "p/by_hand/TS_01", "run": None, "step": ""} | made)

        monkeypatch.setattr(imod_session, "open_in_imod", open_in_imod)
        return asked

    return ends


def test_an_alignment_is_taken_back(cryoloom, opened):
    asked = opened(run=SimpleNamespace(failed=()), step="import_alignment")
    output = cryoloom("imod", "TS_01", "--input", "draw")
    assert asked == {"item": "TS_01", "input": "draw", "take_back": True}
    assert "files: p/by_hand/TS_01" in output
    assert "go on with `cryoloom run STEP --input import_alignment --project p`" in output


def test_nothing_changed_or_only_looked(cryoloom, opened):
    asked = opened()
    assert "nothing was changed, so nothing was taken back" in cryoloom(
        "imod", "TS_01", "--input", "draw", "--only-look"
    )
    assert asked["take_back"] is False


def test_what_cannot_be_taken_back_is_said_with_exit_code_1(cryoloom, opened):
    failed = SimpleNamespace(name="TS_01", error={"message": "the alignment is of 40 views, expected 41"})
    opened(run=SimpleNamespace(failed=(failed,)), step="import_alignment")
    output = cryoloom("imod", "TS_01", "--input", "draw", code=1)
    assert "failed  TS_01  the alignment is of 40 views, expected 41" in output
