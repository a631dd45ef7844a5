"""`cryoloom help`: the same as --help."""

from __future__ import annotations

from typer.testing import CliRunner

from cryoloom.cli.main import app


def asked(*arguments):
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "120"}, prog_name="cryoloom")


def test_help_shows_what_the_option_shows():
    printed = asked("help")
    assert printed.exit_code == 0
    assert printed.output == asked("--help").output
    assert "Process" in printed.output


def test_help_of_a_command_is_that_of_its_option():
    printed = asked("help", "workflow", "list")
    assert printed.exit_code == 0
    assert printed.output == asked("workflow", "list", "--help").output


def test_a_command_that_does_not_exist_is_refused():
    printed = asked("help", "nonsense")
    assert printed.exit_code == 2
    assert "No such command 'nonsense'" in printed.output
