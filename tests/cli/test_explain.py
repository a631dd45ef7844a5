"""`cryoloom status --explain`: what import believed, for people and for scripts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from cryoloom.cli.main import app
from cryoloom.engine.project import Project
from cryoloom.formats.pixels.mrc import write_mrc


@pytest.fixture
def project(tmp_path):
    stack = tmp_path / "TS_01.mrc"
    write_mrc(stack, np.arange(5, dtype=np.float32)[:, None, None] * np.ones((8, 6)), 2.7)
    (tmp_path / "TS_01.rawtlt").write_text("-6\n-3\n0\n3\n6\n")
    project = Project.create(tmp_path / "project")
    project.run("import_tilt_series", stack=str(stack), dose_per_tilt_per_angstrom2=3.0)
    return project


def explain(project, *arguments):
    command = ["status", "--project", str(project.folder), *arguments]
    return CliRunner().invoke(app, command, env={"COLUMNS": "200"})


@pytest.mark.parametrize("names", [["TS_01"], ["all"], []])
def test_every_quantity_its_sources_and_notes(project, names):
    lines = explain(project, "--explain", *names).output.splitlines()
    assert lines[0] == "TS_01"
    assert "  pixel size, angstrom: 2.7 (by stack header)" in lines
    assert "    * stack header: 2.7" in lines
    assert "    ! no source gives the order of acquisition; assumed dose-symmetric" in lines


def test_the_same_as_json(project):
    explained = json.loads(explain(project, "--explain", "TS_01", "--json").output)
    assert explained["item"] == "TS_01"
    values = {one["quantity"]: one["value"] for one in explained["evidence"]}
    assert values["dose"] == "3 e/A^2 each"


def test_a_series_that_is_not_there(project):
    result = explain(project, "--explain", "TS_02")
    assert "no series is called 'TS_02'; there are TS_01" in str(result.exception)


def test_the_state_of_series_that_are_named(project):
    shown = explain(project, "TS_01", "--json").output.splitlines()
    assert [json.loads(line)["item"] for line in shown] == ["TS_01"]
    result = explain(project, "TS_02")
    assert "no series is called 'TS_02'; there are TS_01" in str(result.exception)


def test_the_project_that_the_current_folder_is_in(project, tmp_path, monkeypatch):
    below = project.folder / "runs"
    below.mkdir(exist_ok=True)
    monkeypatch.chdir(below)
    result = CliRunner().invoke(app, ["status", "--json"])
    assert json.loads(result.output)["item"] == "TS_01"
    monkeypatch.chdir(tmp_path.parent)
    result = CliRunner().invoke(app, ["status"])
    assert "is a project; give one with --project FOLDER" in str(result.exception)
