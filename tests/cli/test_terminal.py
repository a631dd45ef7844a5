"""Lines on the terminal stay as they are."""

from __future__ import annotations

from cryoloom.cli.terminal import say


def test_a_line_is_neither_broken_nor_taken_for_markup(capsys):
    text = "warning: [bold]TS_01[/bold] " + "very long " * 40 + "end"
    say(text)
    assert capsys.readouterr().out == text + "\n"
