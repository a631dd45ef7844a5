"""`cryoloom help`: the same as --help."""

from __future__ import annotations

from typer.testing import CliRunner

from cryoloom.cli.main import app


def asked(*arguments):
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "120"}, prog_name="cryoloom")


def test_help_shows_what_the_option_shows():
    told = asked("help")
    assert told.exit_code == 0
    assert told.output == asked("--help").output
    assert "Process" in told.output


def test_help_of_a_command_is_that_of_its_option():
    told = asked("help", "workflow", "list")
    assert told.exit_code == 0
    assert told.output == asked("workflow", "list", "--help").output


def test_a_command_that_does_not_exist_is_refused():
    told = asked("help", "nonsense")
    assert told.exit_code == 2
    assert "No such command 'nonsense'" in told.output
