"""A project of three series of fake steps, and the command line on it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cryoloom.cli.main import app
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from makers.fakes import fake_steps

__all__ = ["fake_steps"]


@pytest.fixture
def project(fake_steps, tmp_path):
    """Three series through `find_series`, `draw` and `smooth`."""
    project = Project.create(tmp_path / "p")
    steps = [{"step": s} for s in ("find_series", "draw", "smooth")]
    project.run_workflow(Workflow.model_validate({"name": "fake", "steps": steps}))
    return project


@pytest.fixture
def cryoloom(project, monkeypatch):
    """The command line, in the project's folder: what it says; user errors are raised."""
    monkeypatch.chdir(project.folder.parent)

    def invoke(*arguments, code=0):
        result = CliRunner().invoke(app, [*arguments, "--project", "p"], env={"COLUMNS": "300"})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.output

    return invoke


@pytest.fixture
def brighter(project):
    """A second run of `draw`, the fourth of all, with a brightness of 5."""
    project.run("draw", like="draw", brightness=5.0)
    return project
