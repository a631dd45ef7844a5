"""A running process is asked to stop."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cryoloom.cli.main import app
from cryoloom.errors import UserInputError


def test_the_request_is_left_in_the_project(cryoloom, project):
    before = {path for path in project.folder.rglob("*") if path.is_file()}
    assert "continue with `cryoloom resume --project p`" in cryoloom("stop")
    new = {path.name for path in project.folder.rglob("*") if path.is_file()} - {path.name for path in before}
    assert any("stop" in name for name in new)


def test_a_folder_that_is_no_project_is_refused(tmp_path):
    with pytest.raises(UserInputError, match="project"):
        CliRunner().invoke(app, ["stop", "--project", str(tmp_path)], catch_exceptions=False)
    assert list(tmp_path.iterdir()) == []
