"""Runs one by one: copied and changed, deleted, commented, compared."""

from __future__ import annotations

import pytest

from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from makers.fakes import fake_steps
from makers.graphs import Diary, two_branches
from makers.graphs import run as run_steps

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


@pytest.fixture
def project(tmp_path):
    project = Project.create(tmp_path / "project")
    run_steps(
        project,
        {"step": "find_series"},
        {"step": "draw", "parameters": {"brightness": 2.0}},
        {"step": "smooth", "parameters": {"width": 2}},
    )
    return project


def test_a_copy_takes_parameters_and_inputs_and_changes_what_is_given(project):
    diary = Diary()
    project.run("draw", like="draw", brightness=5.0, seconds=0.001, listener=diary)
    assert len(diary.worked_on) == 3
    first, second = (run for run in project.database.runs() if run.step == "draw")
    assert second.parameters == {**first.parameters, "brightness": 5.0, "seconds": 0.001}
    assert second.input_run_id == first.input_run_id
    assert first.state == "done"


def test_a_copy_unchanged_does_nothing_twice(project):
    diary = Diary()
    project.run("smooth", like=3, listener=diary)
    assert diary.worked_on == []
    assert len(project.database.runs()) == 3


def test_a_file_that_parameters_name_is_part_of_the_key(project, tmp_path):
    """Only the series whose file was replaced is done again; a new time alone is nothing."""
    (tmp_path / "TS_02").write_text("first")

    def smoothed():
        diary = Diary()
        project.run("smooth", like=3, folder=str(tmp_path), listener=diary)
        return [item for _, item in diary.worked_on]

    assert smoothed() == ["TS_01", "TS_02", "TS_03"]  # the parameter is new
    assert smoothed() == []
    (tmp_path / "TS_02").write_text("second")
    assert smoothed() == ["TS_02"]
    (tmp_path / "TS_02").touch()
    assert smoothed() == []


def test_a_copy_of_two_inputs(project):
    project.run("merge", input="draw", second_from="smooth")
    diary = Diary()
    project.run("smooth", like="smooth", width=5)
    project.run("merge", like="merge", second_from="smooth", listener=diary)
    assert len(diary.worked_on) == 3
    assert project.find_run("merge").links == {"second_from": project.find_run("smooth").id}
    with pytest.raises(
        UserInputError, match="needs a run that gives its second_from: give --second-from RUN"
    ):
        project.run("merge", input="draw")


def test_a_copy_of_another_step_is_refused(project):
    with pytest.raises(UserInputError, match="run 2 is a run of draw, expected one of smooth"):
        project.run("smooth", like=2)


def test_a_run_goes_with_its_files_and_leaves_no_trace(project):
    smooth = project.find_run("smooth")
    deleted = project.delete_run("smooth")
    assert [run.id for run in deleted] == [smooth.id]
    assert not (project.folder / smooth.folder).exists()
    assert [run.node for run in project.database.runs()] == ["find_series", "draw"]
    assert {item.run_id for item in project.database.items()} == {1, 2}
    diary = Diary()
    project.run("smooth", input="draw", width=2, listener=diary)
    assert len(diary.worked_on) == 3
    assert project.find_run("smooth").id == smooth.id + 1  # numbers are not used again
    assert not project.resume().failed


def test_what_others_need_is_not_deleted(project):
    with pytest.raises(UserInputError, match=r"run 2 \(draw\) is needed by 3 \(smooth\)"):
        project.delete_run("draw")
    assert len(project.database.items()) == 9
    assert len(list(project.folder.glob("runs/*/*/images.mrc"))) == 6
    deleted = project.delete_run("draw", with_dependents=True)
    assert {run.node for run in deleted} == {"draw", "smooth"}
    assert [run.node for run in project.database.runs()] == ["find_series"]
    assert not list(project.folder.glob("runs/*/*/images.mrc"))


def test_a_second_input_is_needed_too(project):
    run_steps(project, *two_branches())
    with pytest.raises(UserInputError, match="is needed by"):
        project.delete_run(project.find_run("merge").links["second_from"])


def test_results_that_another_run_took_over_are_needed(project):
    run_steps(
        project,
        {"step": "find_series"},
        {"step": "draw", "name": "again", "parameters": {"brightness": 2.0}},
    )
    project.delete_run("smooth")
    with pytest.raises(UserInputError, match=r"is needed by 4 \(again\)"):
        project.delete_run("draw")


def test_a_comment_is_kept(project):
    project.comment("draw", "too bright")
    project.comment(2, "much too bright")
    assert project.find_run("draw").comment == "much too bright"
    project.run("draw", like="draw")
    assert project.find_run("draw").comment == "much too bright"


def test_two_runs_side_by_side(project):
    project.run("draw", like="draw", brightness=5.0, fails_on=["TS_03"], items=["TS_01", "TS_03"])
    compared = project.compare(2, "draw")
    assert dict(compared.parameters) == {"brightness": (2.0, 5.0), "fails_on": ([], ["TS_03"])}
    old, new = compared.figures["TS_01"]["mean"]
    assert 1.8 < old < 2.2
    assert 4.8 < new < 5.2
    assert compared.medians["mean"][1] == new  # of TS_01 alone: TS_03 failed
    assert compared.figures["TS_02"]["mean"][1] is None
    assert compared.states["TS_02"] == ("done", "absent")
    assert compared.states["TS_03"] == ("done", "failed: too few tilts (n_tilts=4, needed=10)")
    data = compared.as_data()
    assert data["items"]["TS_01"]["figures"]["mean"] == [old, new]
    assert data["runs"][0] == {"id": 2, "name": "draw", "step": "draw"}


def test_runs_of_different_inputs_differ_in_that(project):
    project.run("smooth", input="draw", width=3)
    project.run("draw", like="draw", brightness=3.0)
    project.run("smooth", input="draw", width=3)
    compared = project.compare(4, "smooth")
    assert dict(compared.parameters) == {"input run": (2, 5)}
