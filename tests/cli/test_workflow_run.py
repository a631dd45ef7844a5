"""`workflow run`: a file that names its raw data, with parameters of all series and of one."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cryoloom.cli.main import app
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from makers.fakes import fake_steps

__all__ = ["fake_steps"]


@pytest.fixture
def run(fake_steps, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.yaml").write_text("name: mine\nsteps:\n- step: find_series\n- step: draw\n")

    def invoke(*arguments):
        result = CliRunner().invoke(
            app, ["workflow", "run", *arguments, "--project", "p"], env={"COLUMNS": "200"}
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return invoke


def test_it_is_run_with_the_parameters_given(run, tmp_path):
    output = run("w.yaml", "--set", "draw.brightness=3", "--set", "TS_02:draw.brightness=9")
    assert "done    TS_03  draw" in output
    project = Project.open(tmp_path / "p")
    means = {i.name: i.figures["mean"] for i in project.database.items(project.find_run("draw").id)}
    assert means["TS_01"] == pytest.approx(3, abs=0.3)
    assert means["TS_02"] == pytest.approx(9, abs=0.3)


def test_a_dry_run_makes_no_project(run, tmp_path):
    assert "draw" in run("w.yaml", "--dry-run")
    assert not (tmp_path / "p").exists()


def test_a_workflow_that_is_not_there(run):
    with pytest.raises(UserInputError, match="nothing"):
        run("nothing")
