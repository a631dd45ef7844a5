"""One step on the results of a run: its parameters and further inputs are options."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from cryoloom.cli.commands.run import command_of
from cryoloom.contract import find_step
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from makers.command_line import run
from makers.fakes import fake_steps

__all__ = ["fake_steps", "run"]


def test_one_step_has_its_parameters_as_options(run, tmp_path):
    run("process", str(tmp_path), "--project", "p")
    # Commands of steps are made at import: the fakes are run through the same function by hand.
    result = CliRunner().invoke(
        command_of(find_step("smooth")), ["--project", "p", "--input", "draw", "--width", "5"]
    )
    assert result.exit_code == 0, result.output
    assert "TS_01  smooth" in result.output


@pytest.mark.usefixtures("fake_steps")
def test_further_inputs_and_workers_are_options_beside_the_parameters():
    command = typer.main.get_command(command_of(find_step("merge")))
    names = {option for parameter in command.params for option in parameter.opts}
    assert {"--second-from", "--input", "--like", "--set", "--item", "--executor", "--project"} <= names
    second = next(p for p in command.params if "--second-from" in p.opts)
    assert second.help == "Run of a TiltSeries input."


def test_a_parameter_that_is_wrong_is_reported_with_its_bounds(run, tmp_path):
    run("process", str(tmp_path), "--project", "p")
    command = command_of(find_step("draw"))
    with pytest.raises(UserInputError, match="brightness"):
        CliRunner().invoke(
            command,
            ["--project", "p", "--input", "find_series", "--brightness", "-1"],
            catch_exceptions=False,
        )


def test_a_setting_and_an_item_reach_the_run(run, tmp_path):
    run("process", str(tmp_path), "--project", "p")
    command = command_of(find_step("draw"))
    arguments = ["--project", "p", "--input", "find_series", "--set", "brightness=7", "--item", "TS_02"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    project = Project.open(tmp_path / "p")
    made = project.database.runs()[-1]
    items = [item.name for item in project.database.items() if item.run_id == made.id]
    assert made.parameters["brightness"] == 7
    assert items == ["TS_02"]


def test_an_unknown_step_is_answered_with_the_nearest(run):
    with pytest.raises(UserInputError, match="did you mean"):
        run("run", "drow", "--project", "p")
