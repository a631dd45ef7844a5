"""A session of five series whose alignment found two other axes: fake steps and a project."""

from dataclasses import replace

import pytest
from pydantic import Field

import cryoloom.contract.discovery as discovery
from cryoloom.contract import Figure, StepContext, StepParams, step
from cryoloom.engine.project import Project
from cryoloom.model import Sourced, TiltSeries
from makers.fakes import STEPS
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
