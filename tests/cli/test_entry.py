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


def test_an_error_that_is_a_bug_keeps_its_traceback(monkeypatch):
    def broken(**how):
        raise KeyError("a bug")

    monkeypatch.setattr("cryoloom.cli.entry.app", broken)
    with pytest.raises(KeyError, match="a bug"):
        main()


def test_a_reader_that_has_left_is_no_failure(monkeypatch):
    def cut_off(**how):
        raise BrokenPipeError

    closed = []
    monkeypatch.setattr("cryoloom.cli.entry.app", cut_off)
    monkeypatch.setattr("cryoloom.cli.entry.os.dup2", lambda *descriptors: closed.append(descriptors))
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    assert len(closed) == 1
