"""One step on the results of a run: its parameters and further inputs are options."""

from __future__ import annotations

from typer.testing import CliRunner

from makers.command_line import run
from makers.fakes import fake_steps

__all__ = ["fake_steps", "run"]


def test_one_step_has_its_parameters_as_options(run, tmp_path):
    run("process", str(tmp_path), "--project", "p")
    # Commands of steps are made at import: the fakes are run through the same function by hand.
    from cryoloom.cli.commands.run import command_of
    from cryoloom.contract import find_step

    result = CliRunner().invoke(
        command_of(find_step("smooth")), ["--project", "p", "--input", "draw", "--width", "5"]
    )
    assert result.exit_code == 0, result.output
    assert "TS_01  smooth" in result.output
