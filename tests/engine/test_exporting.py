"""An export holds current results only, and says which series are missing and why."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cryoloom.cli.main import app
from cryoloom.contract import StepContext, StepParams, discovery, step
from cryoloom.engine.exporting import select_for_export
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from cryoloom.model import TiltSeries
from makers.fakes import fake_steps

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


class PlaceParams(StepParams):
    """Parameters."""


@step("place", per="tilt_series", needs=TiltSeries, gives=TiltSeries, bytes_needed=lambda item, params: 1)
def place(series: TiltSeries, params: PlaceParams, context: StepContext) -> TiltSeries:
    """Say which section of the stack every tilt is."""
    return series.with_tilts({t.acquisition_index: {"section": i} for i, t in enumerate(series.tilts)})


@pytest.fixture
def project(tmp_path):
    return Project.create(tmp_path / "project")


def run(project, *more, **parameters):
    names = ("find_series", "draw", "smooth", *more)
    steps = [{"step": s, "parameters": parameters.get(s, {})} for s in names]
    project.run_workflow(Workflow.model_validate({"name": "fake", "steps": steps}))


def test_everything_current_is_exported(project, tmp_path):
    run(project)
    chosen = select_for_export(project.state())
    assert ([item.name for item in chosen.items], chosen.missing, chosen.notes) == (
        ["TS_01", "TS_02", "TS_03"],
        {},
        {},
    )
    assert [item.run_id for item in chosen.items] == [3, 3, 3]


def test_a_series_with_decisions_that_are_not_applied_is_refused_or_marked(project):
    run(project)
    project.exclude("TS_02", [1], "ice")
    chosen = select_for_export(project.state())
    assert [item.name for item in chosen.items] == ["TS_01", "TS_03"]
    assert chosen.missing == {"TS_02": "outdated at draw: decisions are not applied yet"}
    assert chosen.notes == {
        "TS_02": "TS_02 is not in this export: outdated at draw: decisions are not applied yet"
    }
    marked = select_for_export(project.state(), outdated=True)
    assert [item.name for item in marked.items] == ["TS_01", "TS_02", "TS_03"]
    assert marked.missing == {}
    assert "TS_02 is exported as it was made before" in marked.notes["TS_02"]
    assert [item.run_id for item in marked.items] == [3, 3, 3]


def test_a_series_that_failed_or_is_left_out_is_named(project):
    run(project, draw={"fails_on": ["TS_02"]})
    project.curation().exclude_series("TS_03", "wrong place")
    chosen = select_for_export(project.state())
    assert chosen.missing == {"TS_02": "failed at draw: too few tilts (n_tilts=4, needed=10)"}
    assert "TS_03 is not in this export: left out at find_series" in chosen.notes["TS_03"]
    asked = select_for_export(project.state(), ["TS_03"])
    assert list(asked.missing) == ["TS_03"]
    with pytest.raises(UserInputError, match="there is no series TS_99 to export; this project has TS_01"):
        select_for_export(project.state(), ["TS_99"])


def test_the_command_ends_with_1_where_something_is_missing(project, tmp_path, monkeypatch):
    steps = {**discovery.all_steps(), "place": place.declaration}
    monkeypatch.setattr(discovery, "all_steps", lambda: steps)
    run(project, "place", draw={"fails_on": ["TS_02"]})

    def export(*options):
        command = [
            "export",
            "--project",
            str(project.folder),
            "--format",
            "imod",
            "--to",
            str(tmp_path / "out"),
        ]
        return CliRunner().invoke(app, [*command, *options], env={"COLUMNS": "300"})

    made = project.export("imod", tmp_path / "direct")
    assert made.series == ("TS_01", "TS_03")
    assert set(made.missing) == {"TS_02"}
    assert "TS_02" in (tmp_path / "direct" / "NOTES.txt").read_text()
    result = export()
    assert result.exit_code == 1, result.output
    assert "2 series" in result.output
    assert "TS_02 is not in this export: failed at draw: too few tilts" in result.output
    assert f"cryoloom resume --project {project.folder}" in result.output
    result = export("--series", "TS_01", "--series", "TS_03")
    assert result.exit_code == 0, result.output
