"""The report of a project: written from what is recorded, and only where something was recorded since."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from cryoloom.engine import reporting
from cryoloom.engine.project import Project
from cryoloom.engine.reporting import report_path, write_project_report
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.store.database import Database
from makers.fakes import fake_steps
from makers.graphs import run

__all__ = ["fake_steps"]

FIND = {"step": "find_series", "parameters": {"n_series": 2}}


@pytest.fixture
def project(tmp_path, fake_steps):
    project = Project.create(tmp_path / "project")
    run(project, FIND, {"step": "draw", "parameters": {"brightness": 0.3}})
    return project


def test_it_is_written_again_only_where_something_changed(project):
    path = write_project_report(project)
    first = path.stat().st_mtime_ns
    assert write_project_report(project) == path == report_path(project)
    assert path.stat().st_mtime_ns == first
    run(project, FIND, {"step": "draw", "parameters": {"brightness": 2.0}})
    write_project_report(project)
    assert path.stat().st_mtime_ns != first


def test_a_report_that_was_removed_is_written_again(project):
    write_project_report(project).unlink()
    assert write_project_report(project).exists()


def test_what_could_not_be_measured_is_in_it_with_the_reason(project):
    html = write_project_report(project).read_text(encoding="utf-8")
    assert "Noise ratio" in html  # the declared title
    assert "not measurable" in html
    assert "The images are too dark. A figure that cannot always be measured." in html


def test_a_decision_that_is_not_applied_yet_is_said_with_the_series(project):
    assert "Not up to date" not in write_project_report(project).read_text(encoding="utf-8")
    project.exclude("TS_01", [0], reason="ice")
    html = write_project_report(project).read_text(encoding="utf-8")
    assert html.count("Not up to date") == 1
    assert html.count("not up to date") == 1  # in the table of all series


def test_a_program_and_its_native_step_are_side_by_side(project):
    assert "Outside programs and native steps" not in write_project_report(project).read_text("utf-8")
    run(project, FIND, {"step": "outside_draw", "parameters": {"brightness": 0.3}})
    html = write_project_report(project).read_text(encoding="utf-8")
    shown = html.split("Outside programs and native steps")[1].split("How this was made")[0]
    assert "outside_draw (Drawer 2.1)" in shown  # which program, and its version
    assert "draw (native)" in shown
    assert shown.count("<td>Mean</td>") == 3  # the median, and two series


def test_several_programs_of_a_suite_are_named_once(project, monkeypatch):
    """IMOD's programs do not say their version."""
    run(project, FIND, {"step": "outside_draw"})
    names = ("tiltxcorr", "tiltalign", "newstack")
    kept = {"programs": {name: {"version": "unknown"} for name in names}}
    programs = tuple(SimpleNamespace(name=name, suite="IMOD") for name in names)
    found, item = reporting.find_step, Database.item
    monkeypatch.setattr(Database, "item", lambda self, item_id: replace(item(self, item_id), records=kept))
    declared = SimpleNamespace(
        programs=programs, figures=(), records=(), summary="", references=lambda parameters: ()
    )
    monkeypatch.setattr(
        reporting, "find_step", lambda name: declared if name == "outside_draw" else found(name)
    )
    assert "outside_draw (IMOD)" in write_project_report(project).read_text(encoding="utf-8")


def test_an_imported_tomogram_does_not_hide_the_tilts_of_its_series(tmp_path, rng):
    stack, folder = tmp_path / "TS_01.mrc", tmp_path / "tomograms"
    folder.mkdir()
    write_mrc(stack, rng.normal(100, 5, (5, 32, 40)).astype(np.float32), 10.0)
    stack.with_suffix(".rawtlt").write_text("-20\n-10\n0\n10\n20\n")
    write_mrc(
        folder / "rec_TS_01.mrc", rng.normal(0, 1, (16, 32, 40)).astype(np.float32), 10.0, kind="volume"
    )
    project = Project.create(tmp_path / "project")
    project.run("import_tilt_series", stack=stack, dose_per_tilt_per_angstrom2=3.0)
    project.run("import_tomograms", directory=folder)
    html = write_project_report(project).read_text(encoding="utf-8")
    assert "5 tilts" in html
    assert "rec_TS_01.mrc" in html
    alone = Project.create(tmp_path / "alone")
    summary = alone.run("import_tomograms", directory=folder)
    assert summary.n_done == 1
    assert "rec_TS_01.mrc" in write_project_report(alone).read_text(encoding="utf-8")
    failed = alone.run("pick_blobs", input="import_tomograms", diameter_angstrom=100.0).failed
    assert "imported without tilt images; connect assign_series" in failed[0].error["message"]
