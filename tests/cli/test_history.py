"""What was done, from the command line: log, methods, compare, comment, delete."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from cryoloom.cli.main import app
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from makers.fakes import fake_steps
from makers.graphs import run as run_steps

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


@pytest.fixture
def project(tmp_path, fake_steps):
    project = Project.create(tmp_path / "project")
    run_steps(project, {"step": "find_series"}, {"step": "draw"}, {"step": "smooth"})
    project.run("draw", like="draw", brightness=5.0)
    return project


@pytest.fixture
def run(project):
    def run_command(*arguments, code=0):
        command = [*arguments, "--project", str(project.folder)]
        result = CliRunner().invoke(app, command, catch_exceptions=True, env={"COLUMNS": "200"})
        if isinstance(result.exception, UserInputError):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.output

    return run_command


def test_a_comment_shows_in_the_log(run):
    run("comment", "2", "too faint")
    line = next(line for line in run("log").splitlines() if "run   2" in line)
    assert line.endswith("# too faint")
    facts = [json.loads(line) for line in run("log", "--json").splitlines()]
    assert [(fact["run"], fact["comment"]) for fact in facts] == [(1, ""), (2, "too faint"), (3, ""), (4, "")]


def test_two_runs_are_compared_in_a_table_and_as_json(run):
    table = run("compare", "2", "4")
    assert "brightness" in table
    assert "median" in table
    assert "TS_03" in table
    data = json.loads(run("compare", "2", "4", "--json"))
    assert data["parameters"] == {"brightness": [1.0, 5.0]}
    old, new = data["medians"]["mean"]
    assert new - old == pytest.approx(4, abs=0.5)
    assert "the runs were made alike" in run("compare", "draw", "4")


def test_a_needed_run_is_kept_until_told(run, project):
    with pytest.raises(UserInputError, match="is needed by 3"):
        run("delete", "2")
    assert "deleted run 2 (draw)" in run("delete", "2", "--with-dependents")
    assert [each.id for each in project.database.runs()] == [1, 4]


def test_methods_of_all_and_of_one_run(run):
    assert "3 tilt series" in run("methods")
    assert "with a brightness of 5" in run("methods", "--run", "4")
    assert "with a brightness" not in run("methods", "--run", "3")


def test_a_file_is_traced_as_text_and_as_json(run, project):
    path = project.folder / "runs" / "003_smooth" / "TS_01" / "images.mrc"
    told = run("log", "--file", str(path))
    assert "made by run 3 (smooth), TS_01" in told
    assert "input run 2" in told
    data = json.loads(run("log", "--file", str(path), "--json"))
    assert [each["name"] for each in data["steps"]] == ["find_series", "draw", "smooth"]
    assert data["steps"][1]["environment"]["python"]


def test_the_log_of_an_item_is_shown_as_it_is(run, project):
    told = run("log", "--item", "TS_01", "--run", "draw")
    assert told == project.item_log("draw", "TS_01").read_text()
    assert "n_included = 5" in told
    with pytest.raises(UserInputError, match="--item and --run go together"):
        run("log", "--item", "TS_01")


def test_a_gathering_step_is_asked_for_by_name(run, project):
    with pytest.raises(UserInputError, match="no gathering step 'draw'"):
        run("gather", "draw")
    run_steps(project, {"step": "find_series"}, {"step": "draw"}, {"step": "average_all"})
    assert "requested; average_all starts with the items it has" in run("gather", "average_all")
    assert (project.folder / "requests" / "gather_average_all").exists()


def test_files_are_removed_and_what_is_told_of_them(run, project):
    project.resume()
    stacks = list(project.folder.rglob("*.mrc"))
    assert "draw" in run("clean", "--keep", "results", "--dry-run")
    assert list(project.folder.rglob("*.mrc")) == stacks
    listed = [json.loads(line) for line in run("clean", "--keep", "results", "--json").splitlines()]
    assert {one["step"] for one in listed} == {"draw"}
    assert all(one["removed"] and one["bytes"] > 0 for one in listed)
    gone = {project.folder / path for one in listed for path in one["files"]}
    assert set(project.folder.rglob("*.mrc")) == set(stacks) - gone
    assert "nothing to remove" in run("clean", "--keep", "results")
    told = run("status")
    assert "room for about" in told
    assert "draw" not in told.splitlines()[-1]
