"""Simulation from the command line: parameters, an empty folder, and delivery as a microscope does it."""

from __future__ import annotations

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cryoloom.cli.commands import simulate as command
from cryoloom.cli.main import app
from cryoloom.errors import UserInputError


@pytest.fixture
def run(monkeypatch):
    """What the simulator is called with."""
    calls = []
    monkeypatch.setattr(command, "console", Console(width=300))
    monkeypatch.setattr(
        "cryoloom.simulate.session.simulate_session", lambda *given: calls.append(("simulate", *given[:2]))
    )
    monkeypatch.setattr("cryoloom.simulate.live.play_session", lambda *given: calls.append(("play", *given)))

    def invoke(*arguments):
        result = CliRunner().invoke(app, ["simulate", *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0
        return result.output, calls

    return invoke


def test_parameters_are_read_as_they_are_typed(run, tmp_path):
    output, (call,) = run(str(tmp_path / "s"), "--set", "tilt_step_deg=6", "--set", "image_shape_yx=256,320")
    assert (call[1].tilt_step_deg, call[1].image_shape_yx) == (6.0, (256, 320))
    assert call[2] == tmp_path / "s"
    assert "raw movies and truth.json are in" in output


def test_a_folder_with_files_is_refused(run, tmp_path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(UserInputError, match="is not empty; a simulation needs an empty folder"):
        run(str(tmp_path))


def test_an_unknown_parameter_is_refused(run, tmp_path):
    with pytest.raises(UserInputError, match="tilt_stepdeg"):
        run(str(tmp_path / "s"), "--set", "tilt_stepdeg=6")


def test_live_is_simulated_elsewhere_and_delivered_tilt_by_tilt(run, tmp_path):
    _, (made, played) = run(str(tmp_path / "s"), "--live", "2.5")
    assert made[2] != tmp_path / "s"
    assert played[1] == made[2]
    assert played[2] == tmp_path / "s"
    assert played[3].seconds_per_tilt == 2.5


def test_parameters_are_listed_with_their_defaults(run, tmp_path):
    output, calls = run(str(tmp_path / "s"), "--show-parameters")
    assert "tilt_step_deg = 3.0: Nominal increment." in output
    assert calls == []
