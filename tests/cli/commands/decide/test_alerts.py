"""Alerts are set and listed from the command line."""

from __future__ import annotations

import sys

import pytest
from typer.testing import CliRunner

from cryoloom.cli.main import app
from cryoloom.engine.live.alert_settings import alert_settings
from cryoloom.errors import UserInputError
from cryoloom.store.database import Database


@pytest.fixture
def run(tmp_path):
    Database.create(tmp_path).close()

    def run_command(*arguments, code=0):
        result = CliRunner().invoke(app, ["alerts", "--project", str(tmp_path), *arguments])
        if isinstance(result.exception, UserInputError):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.output

    return run_command


def test_limits_and_channels_are_set_and_taken_back(run, tmp_path):
    run("--limit", "motion_median_angstrom=:8", "--limit", "defocus_median_angstrom=20000:60000")
    run("--to-command", "mail -s 'the microscope' anna", "--to-file", str(tmp_path / "a.log"))
    out = run("--quiet-minutes", "30", "--mute", "tilt_axis_deg", "--at-least", "2", "--of-last", "4")
    assert "limit:   motion_median_angstrom from any to 8 Å" in out
    assert "limit:   defocus_median_angstrom from 2 µm to 6 µm" in out
    assert "2 of the last 4 series" in out
    settings = alert_settings(tmp_path)
    assert settings.command == ("mail", "-s", "the microscope", "anna")
    assert settings.channels == ("file", "command")
    run("--limit", "motion_median_angstrom=", "--to-command", "", "--unmute", "tilt_axis_deg")
    settings = alert_settings(tmp_path)
    assert (list(settings.limits), settings.channels, settings.muted) == (
        ["defocus_median_angstrom"],
        ("file",),
        (),
    )


@pytest.mark.parametrize(
    "text", ["motion_median_angstrom", "motion_median_angstrom=8", "motion_median_angstrom=a:b"]
)
def test_a_limit_of_another_form_is_refused(run, text):
    with pytest.raises(UserInputError, match="expected"):
        run("--limit", text)


def test_a_test_message_says_where_it_arrived(run, tmp_path):
    with pytest.raises(UserInputError, match="alerts go to the page only"):
        run("--test")
    run("--to-file", str(tmp_path / "a.log"))
    assert "file: sent" in run("--test")
    assert "a test of alerts; nothing is wrong" in (tmp_path / "a.log").read_text()
    run("--to-command", f"{sys.executable} -c 'raise SystemExit(3)'")
    assert "ended with 3" in run("--test", code=1)
