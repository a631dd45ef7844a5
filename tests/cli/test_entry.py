"""The entry point: an error that a user can fix is one sentence."""

from __future__ import annotations

import sys

import pytest

from cryoloom.cli.entry import main
from cryoloom.errors import UserInputError
from makers.command_line import run
from makers.fakes import fake_steps

__all__ = ["fake_steps", "run"]


def test_a_wrong_word_is_one_sentence(run, tmp_path, monkeypatch, capsys):
    with pytest.raises(UserInputError, match="did you mean smooth"):
        run("process", str(tmp_path), "--project", "p", "--set", "smoth.width=2")
    monkeypatch.setattr(sys, "argv", ["cryoloom", "status", "--project", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert len(shown.strip().splitlines()) == 1
