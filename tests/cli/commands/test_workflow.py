"""Workflows run from the command line: own parameters, wrong requests, dry runs."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cryoloom.cli.main import app
from cryoloom.errors import UserInputError


def test_parameters_of_one_series_on_the_command_line(cryoloom, tmp_path):
    (tmp_path / "own.yaml").write_text("TS_01: {smooth: {width: 3}}\nTS_03: {smooth: {width: 5}}\n")
    (tmp_path / "w.yaml").write_text(
        "name: fake\nsteps:\n- step: find_series\n- step: draw\n- step: smooth\n"
    )
    printed = cryoloom(
        "workflow", "run", "w.yaml", "--set", "TS_03:smooth.width=4", "--set-series", "own.yaml"
    )
    assert "report:" in printed
    listed = cryoloom("decisions")
    assert "TS_01: smooth.width = 3" in listed
    assert "TS_03: smooth.width = 4" in listed  # the option goes before the file
    with pytest.raises(UserInputError, match="no step 'smoth'; did you mean smooth"):
        cryoloom("workflow", "run", "w.yaml", "--set", "TS_03:smoth.width=4")


def test_a_wrong_request_leaves_no_empty_project(cryoloom, project):
    (project.folder.parent / "w.yaml").write_text("name: fake\nsteps:\n- step: find_series\n- step: draw\n")
    for wrong in ("smoth.width=4", "draw.brightness=-1", "find_series.refuses=true"):
        with pytest.raises(UserInputError):
            CliRunner().invoke(
                app, ["workflow", "run", "w.yaml", "--project", "new", "--set", wrong], catch_exceptions=False
            )
        assert not (project.folder.parent / "new").exists()


def test_a_dry_run_tells_memory_work_disk_and_what_is_unfit(cryoloom, project):
    (project.folder.parent / "w.yaml").write_text(
        "name: fake\nsteps:\n- step: find_series\n  parameters: {n_series: 5, bad: [TS_02]}\n"
        "- step: draw\n- step: smooth\n"
    )
    printed = cryoloom("workflow", "run", "w.yaml", "--dry-run")
    assert "unfit: TS_02  find_series: movie a.tif is missing; expected it beside the mdoc" in printed
    assert "free on the disk: " in printed
    draw = next(line for line in printed.splitlines() if " draw " in line)
    assert [cell.strip() for cell in draw.split("│")[1:-1]][:4] == ["draw", "2", "2", ""]
    ahead = {one.node: one for one in project.dry_run(str(project.folder.parent / "w.yaml"))}
    assert ahead["draw"].memory_bytes == 1  # as the fake step declares
    assert ahead["draw"].disk_bytes == 2 * 2624
    assert ahead["draw"].seconds > 0
    assert project.state().series["TS_01"].state == "current"  # nothing was written
