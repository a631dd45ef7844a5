"""The session's axis from a project's runs; outlying series are aligned again, in a run that says why."""

import json
from dataclasses import replace

import pytest
from pydantic import Field
from rich.console import Console
from typer.testing import CliRunner

import cryoloom.contract.discovery as discovery
from cryoloom.cli.main import app
from cryoloom.contract import Figure, StepContext, StepParams, step
from cryoloom.engine.axis_again import align_outlying_again
from cryoloom.engine.history.results import current_runs, final_items, history_of
from cryoloom.engine.history.session_axis import session_axis
from cryoloom.engine.project import Project
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import Sourced, TiltSeries
from makers.fakes import STEPS, find_series
from makers.graphs import Diary
from makers.graphs import run as run_steps

AXES = {"TS_01": 85.2, "TS_02": 85.3, "TS_03": 90.9, "TS_04": 85.25, "TS_05": -94.7}


class FakeAlignParams(StepParams):
    tilt_axis_deg: float | None = Field(None, description="Axis.")
    axis: str = Field("one", description="DegreesOfFreedom.")


@step(
    "align_series",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda item, params: 1,
    figures=(
        Figure("axis_by_common_line_deg", "deg", "Axis", "By common lines.", role="tilt_axis_evidence"),
    ),
    source_of=("poses",),
    hold_axis=lambda axis_deg: {"tilt_axis_deg": round(axis_deg, 3), "axis": "fixed"},
)
def fake_align(series: TiltSeries, params: FakeAlignParams, context: StepContext) -> TiltSeries:
    """Measure the axis of a script, or hold the one given."""
    held = params.tilt_axis_deg if params.axis == "fixed" else None
    measured = AXES[series.name] if held is None else held
    context.figure("axis_by_common_line_deg", 85.4)
    axis = Sourced.from_told(86.0, "mdoc").with_measured(measured, "align_series by beads", apply=True)
    return replace(series, tilt_axis_deg=axis)


@step(
    "estimate_ctf", per="tilt_series", needs=TiltSeries, gives=TiltSeries, bytes_needed=lambda item, params: 1
)
def fake_ctf(series: TiltSeries, params: StepParams, context: StepContext) -> TiltSeries:
    """Measure a hand."""
    return replace(series, handedness=Sourced(told=-1.0, measured=1.0 if series.name == "TS_05" else -1.0))


@pytest.fixture
def project(tmp_path, monkeypatch):
    steps = {function.declaration.name: function.declaration for function in (*STEPS, fake_align, fake_ctf)}
    monkeypatch.setattr(discovery, "all_steps", lambda: steps)
    project = Project.create(tmp_path / "project")
    run_steps(
        project,
        {"step": "find_series", "parameters": {"n_series": 5}},
        {"step": "align_series"},
        {"step": "estimate_ctf"},
    )
    return project


def test_the_axis_of_a_session_comes_from_its_run(project):
    run, found = session_axis(project.database, project.folder)
    assert run.step == "align_series"
    assert found.axis_deg == pytest.approx(85.3)
    assert found.outlying == ("TS_03", "TS_05")
    assert found.common_line_axis_deg == pytest.approx(85.4)
    assert found.direction == "as told"
    assert [v.hand_agrees for v in found.verdicts] == [True, True, True, True, False]


def test_outlying_series_are_aligned_again_and_the_run_says_why(project):
    before = len(project.database.runs())
    diary = Diary()
    align_outlying_again(project, listener=diary)
    assert [item for node, item in diary.worked_on if node == "align_series"] == ["TS_03", "TS_05"]
    made = project.database.runs()[-1]
    assert len(project.database.runs()) == before + 1
    assert made.parameters == {"tilt_axis_deg": 85.3, "axis": "fixed"}
    assert "85.30" in made.comment
    assert "5 series of run 2" in made.comment
    # The session is still the run with all series; two of them are none.
    assert session_axis(project.database, project.folder)[1].outlying == ("TS_03", "TS_05")
    with pytest.raises(DataUnfitError, match="at least 3"):
        session_axis(project.database, project.folder, made.id)


def test_the_others_stay_where_their_workflow_left_them(project):
    align_outlying_again(project)
    history = history_of(project.database)
    steps = {name: [run.step for run, _ in made] for name, made in history.items()}
    assert steps.pop("TS_03") == steps.pop("TS_05") == ["find_series", "align_series"]
    assert set(steps) == {"TS_01", "TS_02", "TS_04"}
    assert all(made == ["find_series", "align_series", "estimate_ctf"] for made in steps.values())
    assert [run.id for run in current_runs(project.database)] == [1, 2, 4, 3]  # in the order of the workflow
    finals = {item.name: project.value(item) for item in final_items(project.database)}
    assert finals["TS_03"].tilt_axis_deg.applied == pytest.approx(85.3)
    assert finals["TS_01"].handedness.measured == -1.0  # what estimate_ctf measured is not lost
    # Everything worked on anew: what was before is over.
    nodes = [
        {"step": "find_series", "parameters": {"n_series": 5}},
        {"step": "align_series", "parameters": {"axis": "two"}},
    ]
    run_steps(project, *nodes)
    assert [run.parameters.get("axis") for run in current_runs(project.database)] == [None, "two"]


def test_asked_for_in_vain(project, tmp_path):
    with pytest.raises(UserInputError, match="run 1 is of find_series"):
        session_axis(project.database, project.folder, 1)
    empty = Project.create(tmp_path / "empty")
    run_steps(empty, {"step": find_series.declaration.name})
    with pytest.raises(UserInputError, match="no series was aligned"):
        session_axis(empty.database, empty.folder)


def test_the_command_tells_and_mends(project, monkeypatch):
    monkeypatch.setattr("cryoloom.cli.commands.axis.console", Console(width=200))

    def axis(*options):
        command = ["axis", "--project", str(project.folder), "--run", "2", *options]
        result = CliRunner().invoke(app, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    told = axis()
    assert "session by tracks: 85.30" in told
    assert "half a turn off, hand differs from the metadata" in told
    assert "they agree" in told
    assert "direction: as in the metadata" in told
    facts = json.loads(axis("--json"))
    assert facts["outlying"] == ["TS_03", "TS_05"]
    assert facts["verdicts"][0]["told_deg"] == 86.0
    axis("--again", "--executor", "threads", "--device", "cpu")
    assert project.database.runs()[-1].parameters["axis"] == "fixed"
