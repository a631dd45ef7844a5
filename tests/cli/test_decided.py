"""Decisions in words, and the command that applies them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cryoloom.cli.decided import curation_of, say_decided, sentence_of
from cryoloom.engine.project import Project
from cryoloom.store.decisions import Change, Decision


def decision(kind, item="TS_01", target="", value=None, why="", undoes=None):
    return Decision(
        id=7, batch=7, kind=kind, item=item, target=target, value=value, who="ada", role="user", page="",
        why=why, when=datetime(2026, 1, 2, tzinfo=UTC), undoes=undoes,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (decision("tilt", target="3", value={"keep": False}, why="ice"), "TS_01: leave out tilt 3: ice"),
        (decision("tilt", target="3", value={"keep": True}), "TS_01: keep tilt 3"),
        (
            decision("series", value={"keep": False}, why="broken"),
            "TS_01: leave out the whole series: broken",
        ),
        (decision("parameter", target="smooth.width", value=7), "TS_01: smooth.width = 7"),
        (decision("comment", target="3", value="a crack"), "TS_01 tilt 3: a crack"),
        (decision("comment"), "TS_01: comment removed"),
        (decision("tilt", undoes=5), "undo of decision 5"),
        (decision("pick", target="12", value=[1, 2]), "TS_01: pick 12 = [1, 2]"),
    ],
)
def test_a_decision_is_one_sentence(event, sentence):
    assert sentence_of(event) == sentence


def test_what_changes_results_names_the_next_command(capsys, tmp_path):
    say_decided(tmp_path, [decision("comment", value="fine")])
    assert "cryoloom resume" not in capsys.readouterr().out
    events = [decision("tilt", target="3", value={"keep": False}), decision("comment", value="fine")]
    say_decided(tmp_path, events, undone=True)
    out = capsys.readouterr().out
    assert "taken back: TS_01: leave out tilt 3" in out
    assert "cryoloom resume" in out


def test_the_author_is_the_user_at_the_command_line(tmp_path):
    Project.create(tmp_path / "project")
    (event,) = curation_of(tmp_path / "project").decide([Change("comment", "TS_01", "", "fine")])
    assert (event.page, event.role) == ("command line", "user")
