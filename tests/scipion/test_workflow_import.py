"""A Scipion workflow becomes one of ours that loads, and whose links are all there."""

from __future__ import annotations

import pytest

from cryoloom.engine.graph.workflow import load_workflow
from cryoloom.scipion.workflow_import import import_scipion


@pytest.fixture
def template(data):
    return lambda name: data / "scipion" / f"tutorial_{name}.json.template"


@pytest.mark.parametrize("name", ["STA_HIV", "STA_apoferritin", "nonOrientedPicking_ribosome"])
def test_the_file_written_loads_as_the_same_graph(template, tmp_path, name):
    imported = import_scipion(template(name))
    path = tmp_path / "imported.yaml"
    path.write_text(imported.to_yaml())
    loaded = load_workflow(path)
    assert loaded == imported.workflow
    translated = {step.name: dict(step.feeds) for step in imported.translation.steps}
    assert {node.name: node.feeds for node in loaded.steps} == translated
    assert f"Not translated: {len(imported.left)}" in path.read_text().splitlines()[0]


def test_what_a_step_does_not_know_or_allow_is_listed(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(
        """[{"object.className": "ProtImportTsMovies", "object.id": "1", "filesPath": "/data",
             "filesPattern": "*.mdoc", "voltage": 300.0},
            {"object.className": "ProtImodXraysEraser", "object.id": "2", "object.label": "eraser",
             "inputSetOfTiltSeries": "1.out", "peakCriterion": 2.0, "diffCriterion": 6.0}]"""
    )
    imported = import_scipion(path)
    assert dict(imported.workflow.node("erase_xrays").parameters) == {"difference_sigma": 6.0}
    assert [(one.parameter, one.value) for one in imported.left] == [("peak_sigma", 2.0)]
    assert "erase_xrays does not allow it: Input should be greater than 3" in imported.left[0].why


def test_the_part_that_exists_can_be_planned(template):
    runnable = import_scipion(template("STA_HIV")).workflow.runnable()
    steps = [node.step for node in runnable.steps]
    assert steps[:3] == ["import_movies", "align_frames", "erase_xrays"]
    assert "assign_poses" in steps
    assert "reconstruct" in steps
    assert any("pick_by_hand is left out" in note for note in runnable.notes) or "pick_by_hand" in steps
