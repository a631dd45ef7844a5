"""Series as they were imported, a line for those that are alike."""

from __future__ import annotations

from dataclasses import replace

from cryoloom.cli.imports import imported_line, imported_lines
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.store.codec import encode
from cryoloom.store.current import current_state
from makers.fakes import fake_steps
from makers.made_series import make_series

__all__ = ["fake_steps"]


def test_a_line_has_tilts_range_pixel_and_dose(tmp_path):
    series = make_series(n_tilts=5, pixel_size_angstrom=2.0)
    line = imported_line(encode(replace(series, stack=None), tmp_path))
    assert "5 tilts" in line
    assert "-6 to 6 deg" in line
    assert "2 A" in line
    assert "15 e/A^2" in line


def test_what_is_no_series_has_no_line():
    assert imported_line({"$type": "LeftOut", "reason": "dark"}) == ""


def test_series_of_a_project_that_are_alike_share_a_line(tmp_path, fake_steps):
    project = Project.create(tmp_path / "project")
    project.run_workflow(
        Workflow.model_validate({"name": "two", "steps": [{"step": "find_series"}, {"step": "draw"}]})
    )
    lines = imported_lines(project.database, current_state(project.database))
    assert len(lines) == 1
    assert "5 tilts" in lines[0]
