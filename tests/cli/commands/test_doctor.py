"""What the doctor says of a project's disk."""

from __future__ import annotations

import pytest

from cryoloom.cli.commands import doctor as command
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from makers.fakes import fake_steps

__all__ = ["fake_steps"]


@pytest.mark.usefixtures("fake_steps")
def test_a_projects_disk_is_judged_step_by_step(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "cryoloom.engine.doctor.examine", lambda: []
    )  # of this machine: tests/engine/test_doctor.py
    project = Project.create(tmp_path / "project")
    source = {"step": "find_series", "parameters": {"n_series": 2}}
    project.run_workflow(Workflow.model_validate({"name": "two", "steps": [source, {"step": "draw"}]}))
    command.doctor(project.folder)
    said = " ".join(capsys.readouterr().out.split())
    assert "used (draw " in said
    assert "more series like these" in said
    command.doctor()
    assert "more series" not in capsys.readouterr().out
