"""The command line run on a folder, with the fake workflow as the one for its raw data."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cryoloom.cli.main import app
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.errors import UserInputError


@pytest.fixture
def run(monkeypatch, fake_steps, tmp_path):
    """Run a command; the default workflow is the fake one."""
    fake = {"name": "fake", "steps": [{"step": name} for name in ("find_series", "draw", "smooth")]}

    def plan(raw, workflow, given):
        if not raw.exists():
            raise UserInputError(f"there is no folder or file {raw}")
        return Workflow.model_validate(fake)

    monkeypatch.setattr("cryoloom.engine.project.plan_for_raw_data", plan)
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, code: int = 0):
        result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.output

    return invoke
