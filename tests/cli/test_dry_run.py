"""What a dry run prints: the work of each step with its cost, and why some items are unfit."""

from __future__ import annotations

import json

import pytest

from cryoloom.cli.dry_run import nearest_folder, project_for_dry_run, show_dry_run
from cryoloom.engine.coordinator.dry_run import PlannedNode
from cryoloom.engine.project import Project

NODES = (
    PlannedNode("import_movies", n_there=2, n_now=0, n_later=0, n_unfit=1, unfit={"TS_03": "no movies"}),
    PlannedNode("align_frames", 0, 2, 0, 0, memory_bytes=3 << 30, seconds=90.0, disk_bytes=5 << 20),
    PlannedNode("reconstruct", 0, 0, 2, 0, memory_bytes=1 << 30, seconds=60.0, seconds_are_usual=True),
    PlannedNode("denoise", 0, 0, 2, 0),
)


@pytest.fixture
def printed(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("cryoloom.cli.dry_run.console.width", 200, raising=False)

    def show(json=False, **more):
        show_dry_run(NODES, json, tmp_path, **more)
        return capsys.readouterr().out

    return show


def row(text, name):
    return next(line for line in text.splitlines() if name in line and "│" in line)


def test_the_cost_of_every_step_that_has_work(printed):
    text = printed()
    assert "3.0 GiB" in row(text, "align_frames")
    assert "5 MiB" in row(text, "align_frames")
    assert "~" in row(text, "reconstruct")
    assert "~" not in row(text, "align_frames")  # known from this project
    assert row(text, "denoise").count("?") == 2
    assert "GiB" not in row(text, "import_movies")  # nothing to do


def test_unfit_items_and_marks_are_explained(printed):
    text = printed()
    assert "unfit: TS_03  import_movies: no movies" in text
    assert "~: usual time on two cores" in text
    assert "?: known once this project has run the step on one item" in text
    assert "free on the disk:" in text


def test_notes_come_first(printed):
    assert printed(notes=["align_frames stays native: no GPU"]).startswith("note: align_frames stays native")


def test_json_has_a_line_for_each_step(printed):
    lines = [json.loads(line) for line in printed(json=True).splitlines()]
    assert [line["node"] for line in lines] == [node.node for node in NODES]
    assert lines[1]["memory_bytes"] == 3 << 30


def test_a_project_that_is_not_there_is_not_made(tmp_path):
    with project_for_dry_run(tmp_path / "new") as project:
        assert isinstance(project, Project)
    assert not (tmp_path / "new").exists()
    assert not project.folder.exists()
    made = Project.create(tmp_path / "there")
    with project_for_dry_run(tmp_path / "there") as project:
        assert project.folder == made.folder


def test_the_disk_is_that_of_the_nearest_folder_that_exists(tmp_path):
    assert nearest_folder(tmp_path / "a" / "b") == tmp_path
    assert nearest_folder(tmp_path) == tmp_path
