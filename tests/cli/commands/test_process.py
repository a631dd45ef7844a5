"""Raw data to results: what is refused before anything is made."""

from __future__ import annotations

import json

import pytest

from cryoloom.engine.graph.workflow import Workflow
from cryoloom.errors import UserInputError


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """A folder whose workflow is that of the fake steps."""
    fake = Workflow.model_validate({"name": "two", "steps": [{"step": "find_series"}, {"step": "draw"}]})
    monkeypatch.setattr("cryoloom.engine.project.plan_for_raw_data", lambda raw, workflow, given: fake)
    return tmp_path


def test_a_folder_that_is_not_there(cryoloom, tmp_path):
    with pytest.raises(UserInputError, match="there is no folder or file"):
        cryoloom("process", str(tmp_path / "nothing"))


def test_parameters_and_those_of_one_series(cryoloom, project, raw):
    cryoloom("process", str(raw), "--set", "draw.brightness=3", "--set", "TS_02:draw.brightness=9")
    means = {item.name: item.figures["mean"] for item in project.database.items(project.find_run("draw").id)}
    assert means["TS_01"] == pytest.approx(3, abs=0.3)
    assert means["TS_02"] == pytest.approx(9, abs=0.3)


def test_a_step_that_the_workflow_lacks(cryoloom, raw):
    with pytest.raises(UserInputError, match="reconstruct"):
        cryoloom("process", str(raw), "--set", "reconstruct.binning=2")


def test_programs_need_a_workflow_that_names_some(cryoloom, raw):
    with pytest.raises(UserInputError, match="names no programs; exchange its steps"):
        cryoloom("process", str(raw), "--with", "programs")


def test_what_is_there_is_taken_over_and_said_in_events(cryoloom, raw):
    lines = [json.loads(line) for line in cryoloom("process", str(raw), "--json").splitlines()]
    assert lines[0]["event"] == "planned"
    finished = [line for line in lines if line["event"] == "finished"]
    assert {(line["step"], line["item"]) for line in finished} >= {("draw", "TS_01"), ("draw", "TS_03")}
    assert all(line["reused"] for line in finished if line["step"] == "draw")
