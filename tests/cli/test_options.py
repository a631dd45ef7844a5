"""Groups of options become options of the command line, and come back as the group."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cryoloom.cli.options import DiskOptions, SourceOptions, WorkerOptions, expanded, project_here
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError


def command(project: str, workers: WorkerOptions, source: SourceOptions, verbose: bool = False) -> None:
    typer.echo(f"{project} {workers!r} {source!r} {verbose}")


@pytest.fixture
def run(monkeypatch):
    monkeypatch.delenv("CRYOLOOM_EXECUTOR", raising=False)
    app = typer.Typer()
    app.command()(expanded(command))

    def invoke(*arguments, code=0, env=None):
        result = CliRunner().invoke(app, ["p", *arguments], env=env)
        assert result.exit_code == code, result.output
        return result.output

    return invoke


def test_defaults_of_a_group_are_those_of_its_fields(run):
    assert repr(WorkerOptions()) in run()
    assert repr(SourceOptions()) in run()


def test_options_reach_their_groups(run):
    output = run("--device", "cpu", "--workers", "3", "--gain", "g.mrc", "--pixel-size", "1.35", "--verbose")
    assert repr(WorkerOptions(device="cpu", workers=3)) in output
    assert repr(SourceOptions(gain=Path("g.mrc"), pixel_size=1.35)) in output
    assert output.strip().endswith("True")


def test_values_are_checked(run):
    assert "--workers" in run("--workers", "0", code=2)


def test_the_environment_names_the_executor(run):
    assert repr(WorkerOptions(executor="threads")) in run(env={"CRYOLOOM_EXECUTOR": "threads"})


def test_properties_of_raw_data_as_parameters_of_the_source():
    given = SourceOptions(dose=3.0, tilt_axis=85.0).parameters()
    assert given == {
        "gain": None,
        "pixel_size_angstrom": None,
        "dose_per_tilt_per_angstrom2": 3.0,
        "tilt_axis_deg": 85.0,
    }


def test_the_workplace_has_what_was_asked():
    workplace = WorkerOptions(device="cpu", executor="threads", workers=2).workplace()
    assert (workplace.executor, workplace.device, workplace.workers) == ("threads", "cpu", 2)


def test_the_disk_policy_is_kept_with_the_project(tmp_path):
    project = Project.create(tmp_path / "p")
    DiskOptions().apply(project)
    assert project.disk_policy().keep == "everything"
    DiskOptions(keep=["results", "align_frames=everything"], disk_budget="500GB").apply(project)
    policy = Project.open(tmp_path / "p").disk_policy()
    assert (policy.keep, policy.keep_by_node, policy.budget_bytes) == (
        "results",
        {"align_frames": "everything"},
        500_000_000_000,
    )


def test_the_project_that_the_current_folder_is_in(tmp_path, monkeypatch):
    Project.create(tmp_path / "p")
    (tmp_path / "p" / "runs").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "p" / "runs")
    assert project_here() == tmp_path / "p"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserInputError, match="nor a folder above it is a project; give one with --project"):
        project_here()
