"""The command line with fake steps: what users type, and what is printed."""

from __future__ import annotations

import json

import pytest

import cryoloom
import cryoloom.engine.graph.raw_data as raw_data
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.errors import UserInputError
from makers.command_line import run
from makers.fakes import fake_steps

__all__ = ["fake_steps", "run"]


def test_a_dry_run_says_what_would_be_done_and_makes_nothing(run, tmp_path):
    printed = run("process", str(tmp_path), "--project", "p", "--dry-run", "--json")
    assert json.loads(printed.splitlines()[1])["n_now"] == 3
    assert not (tmp_path / "p").exists()
    run("process", str(tmp_path), "--project", "p")
    table = run("resume", "--project", "p", "--dry-run")
    assert [line.split()[1:4] for line in table.splitlines() if "smooth" in line] == [["smooth", "│", "3"]]


def test_a_dry_run_says_which_programs_do_a_step(run, tmp_path, monkeypatch):
    steps = [{"step": "find_series"}, {"step": "draw", "programs": [{"step": "outside_draw"}]}]
    fake = Workflow.model_validate({"name": "fake", "steps": steps})
    monkeypatch.setattr("cryoloom.engine.project.plan_for_raw_data", lambda raw, workflow, given: fake)
    printed = run("process", str(tmp_path), "--project", "p", "--with", "programs", "--dry-run")
    assert "note: draw is done by outside_draw" in printed
    assert "outside_draw" in printed.split("step ")[1]  # the table has the step that will run


def test_process_then_look(run, tmp_path):
    output = run("process", str(tmp_path), "--project", "p", "--set", "smooth.width=2")
    assert "done    TS_01  draw" in output
    assert "report:   " in output
    assert (tmp_path / "p" / "report.html").stat().st_size > 1000
    status = run("status", "--project", "p")
    assert "TS_03" in status
    assert "smooth" in status
    lines = [json.loads(line) for line in run("results", "--project", "p", "--json").splitlines()]
    assert len(lines) == 9
    assert lines[-1]["files"]["images"].endswith("TS_03/images.mrc")
    log = run("log", "--project", "p", "--file", lines[-1]["files"]["images"])
    assert log.index("run 1 find_series") < log.index("run 2 draw") < log.index("run 3 smooth")
    assert "were processed with cryoloom" in run("log", "--project", "p", "--methods")
    assert "width: 2" in run("workflow", "export", "--project", "p")


def test_a_workflow_file_can_be_run_on_other_data(run, tmp_path):
    run("process", str(tmp_path), "--project", "p")
    run("workflow", "export", "--project", "p", "--to", "mine.yaml")
    output = run("workflow", "run", "mine.yaml", "--project", "q", "--set", "find_series.n_series=1")
    assert output.count("done    TS_") == 3
    assert "smooth" in run("workflow", "show", "mine.yaml")


def test_events_are_json_lines(run, tmp_path):
    lines = run("process", str(tmp_path), "--project", "p", "--json").splitlines()
    events = [json.loads(line) for line in lines]
    assert events[0]["event"] == "planned"
    assert sum(event["event"] == "finished" for event in events) == 9


def test_a_failed_item_is_reported_and_makes_the_status(run, tmp_path):
    output = run("process", str(tmp_path), "--project", "p", "--set", "draw.fails_on=[TS_02]", code=1)
    assert "failed  TS_02  draw: too few tilts (n_tilts=4, needed=10)" in output
    assert "fix the cause, then `cryoloom resume --project p`" in output
    assert "too few tilts" in run("status", "--project", "p")


def test_the_version_is_printed(run):
    assert run("--version") == f"cryoloom {cryoloom.__version__}\n"


def test_the_workflow_suits_the_raw_data(tmp_path):
    (tmp_path / "a.mdoc").touch()
    (tmp_path / "gain_ref.mrc").touch()
    plan = raw_data.plan_for_raw_data(tmp_path, None, {"pixel_size_angstrom": 2.7, "tilt_axis_deg": None})
    assert plan.name == "tomogram"
    parameters = plan.steps[0].parameters
    assert parameters["gain"] == str(tmp_path / "gain_ref.mrc")
    assert parameters["pixel_size_angstrom"] == 2.7
    assert "tilt_axis_deg" not in parameters
    with pytest.raises(UserInputError, match="there is no folder"):
        raw_data.plan_for_raw_data(tmp_path / "none", None, {})


def test_stacks_are_not_taken_for_movies(tmp_path):
    for name in ("TS_01.mrc", "TS_01.rawtlt"):
        (tmp_path / name).touch()
    assert raw_data.plan_for_raw_data(tmp_path, None, {}).name == "tomogram_from_stack"
    assert raw_data.plan_for_raw_data(tmp_path / "TS_01.mrc", None, {}).name == "tomogram_from_stack"
