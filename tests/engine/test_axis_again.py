"""Outlying series are aligned again in a run that says why; the others stay where they are."""

import pytest

from cryoloom.engine.axis_again import align_outlying_again
from cryoloom.engine.history.results import current_runs, final_items, history_of
from cryoloom.engine.history.session_axis import session_axis
from cryoloom.errors import DataUnfitError
from makers.graphs import Diary
from makers.graphs import run as run_steps
from makers.outlying_axes import project

__all__ = ["project"]


def test_outlying_series_are_aligned_again_and_the_run_says_why(project):
    before = len(project.database.runs())
    diary = Diary()
    align_outlying_again(project, listener=diary)
    assert [item for node, item in diary.worked_on if node == "align_series"] == ["TS_03", "TS_05"]
    made = project.database.runs()[-1]
    assert len(project.database.runs()) == before + 1
    assert made.parameters == {"tilt_axis_deg": 85.3, "axis": "fixed"}
    assert "85.30" in made.comment
    assert "5 series of run 2" in made.comment
    # The session is still the run with all series; two of them are none.
    assert session_axis(project.database, project.folder)[1].outlying == ("TS_03", "TS_05")
    with pytest.raises(DataUnfitError, match="at least 3"):
        session_axis(project.database, project.folder, made.id)


def test_the_others_stay_where_their_workflow_left_them(project):
    align_outlying_again(project)
    history = history_of(project.database)
    steps = {name: [run.step for run, _ in made] for name, made in history.items()}
    assert steps.pop("TS_03") == steps.pop("TS_05") == ["find_series", "align_series"]
    assert set(steps) == {"TS_01", "TS_02", "TS_04"}
    assert all(made == ["find_series", "align_series", "estimate_ctf"] for made in steps.values())
    assert [run.id for run in current_runs(project.database)] == [1, 2, 4, 3]  # in the order of the workflow
    finals = {item.name: project.value(item) for item in final_items(project.database)}
    assert finals["TS_03"].tilt_axis_deg.applied == pytest.approx(85.3)
    assert finals["TS_01"].handedness.measured == -1.0  # what estimate_ctf measured is not lost
    # Everything worked on anew: what was before is over.
    nodes = [
        {"step": "find_series", "parameters": {"n_series": 5}},
        {"step": "align_series", "parameters": {"axis": "two"}},
    ]
    run_steps(project, *nodes)
    assert [run.parameters.get("axis") for run in current_runs(project.database)] == [None, "two"]
