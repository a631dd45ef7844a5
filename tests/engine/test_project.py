"""The engine with fake steps: caching, resuming, failing, choosing, provenance."""

from __future__ import annotations

import shutil
import threading
import time

import numpy as np
import pytest

from cryoloom.engine.coordinator.null_listener import NullListener
from cryoloom.engine.executors.executor import InProcessExecutor
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.history.results import current_runs, final_items
from cryoloom.engine.project import Project
from cryoloom.engine.worker.task import load_value
from cryoloom.errors import UserInputError
from cryoloom.model import DecidedBy
from cryoloom.store.decisions import Author
from makers.fakes import N_TILTS, fake_steps
from makers.old_projects import project_with_choices_of_version_3

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


class Diary(NullListener):
    """Remembers what was worked on."""

    def __init__(self):
        self.worked_on = []

    def started(self, task):
        self.worked_on.append((task.node, task.item))


def workflow(**parameters):
    steps = ("find_series", "draw", "smooth")
    return Workflow.model_validate(
        {"name": "fake", "steps": [{"step": name, "parameters": parameters.get(name, {})} for name in steps]}
    )


@pytest.fixture
def project(tmp_path):
    return Project.create(tmp_path / "project")


def run(project, **parameters):
    diary = Diary()
    return project.run_workflow(workflow(**parameters), listener=diary), diary.worked_on


def test_every_item_goes_through_every_step(project):
    summary, worked_on = run(project)
    assert summary.n_done == 9
    assert not summary.failed
    # An item goes on before the next one starts: the furthest work is done first.
    assert worked_on[:4] == [("draw", "TS_01"), ("smooth", "TS_01"), ("draw", "TS_02"), ("smooth", "TS_02")]


def test_pixels_come_back_as_they_were_drawn(project):
    run(project, smooth={"width": 2})
    final = {item.name: project.value(item) for item in final_items(project.database)}
    series = final["TS_02"]
    np.testing.assert_allclose(series.weighted.images[3], series.stack.images[3] / 2, rtol=1e-6)
    assert series.stack.images.pixel_size_angstrom == pytest.approx(2.5)


def test_nothing_is_done_twice(project):
    run(project)
    summary, worked_on = run(project)
    assert worked_on == []
    assert summary.n_done == 9


def test_a_changed_parameter_redoes_what_depends_on_it_and_nothing_else(project):
    run(project)
    _, worked_on = run(project, smooth={"width": 3})
    assert worked_on == [("smooth", "TS_01"), ("smooth", "TS_02"), ("smooth", "TS_03")]
    _, worked_on = run(project)  # back: the earlier results are still known
    assert worked_on == []


def test_results_do_not_depend_on_the_number_of_workers(project, tmp_path):
    run(project)
    other = Project.create(tmp_path / "other")
    other.run_workflow(workflow(), executor=InProcessExecutor("cpu", n_workers=3))
    for mine, its in zip(final_items(project.database), final_items(other.database), strict=True):
        assert mine.key == its.key
        np.testing.assert_array_equal(
            project.value(mine).weighted.images[:], other.value(its).weighted.images[:]
        )


def test_a_failing_item_holds_nobody_up_and_leaves_no_file(project):
    summary, _ = run(project, draw={"fails_on": ["TS_02"]})
    assert [item.name for item in summary.failed] == ["TS_02"]
    assert summary.n_done == 7
    assert summary.failed[0].error["message"] == "too few tilts"
    assert summary.failed[0].error["facts"] == {"n_tilts": "4", "needed": "10"}
    assert {path.name for path in project.folder.glob("runs/*/TS_02/*")} == {"log.txt"}
    assert {run.node: run.state for run in project.database.runs()}["draw"] == "failed"


def test_a_bad_item_of_the_source_is_recorded(project):
    summary, _ = run(project, find_series={"bad": ["TS_01"]})
    assert [item.name for item in summary.failed] == ["TS_01"]
    assert summary.n_done == 6


def test_resume_redoes_the_failed_ones_when_the_cause_is_fixed(project, tmp_path):
    switch = tmp_path / "broken"
    switch.touch()
    summary, _ = run(project, draw={"switch": str(switch)})
    assert len(summary.failed) == 3
    switch.unlink()
    diary = Diary()
    summary = project.resume(listener=diary)
    assert not summary.failed
    assert len(diary.worked_on) == 6


@pytest.mark.parametrize(
    ("flaw", "sentence"), [("zeros", "images is constant"), ("nan", "not finite")], ids=["zeros", "nan"]
)
def test_outputs_are_gated(project, flaw, sentence):
    summary, _ = run(project, draw={flaw: True}, find_series={"n_series": 1})
    assert sentence in summary.failed[0].error["message"]
    assert {path.name for path in project.folder.glob("runs/*/TS_01/*")} == {"log.txt"}


def test_a_lost_file_is_made_again(project):
    run(project)
    lost = next(project.folder.glob("runs/*_draw/TS_02/images.mrc"))
    lost.unlink()
    _, worked_on = run(project)
    assert worked_on == [("draw", "TS_02")]
    assert lost.exists()


def test_stopping_keeps_what_is_done_and_leaves_no_half_file(project):
    timer = threading.Timer(0.7, project.stop)
    timer.start()
    clock = time.perf_counter()
    summary, _ = run(project, draw={"seconds": 0.4})
    timer.join()
    assert summary.stopped
    assert time.perf_counter() - clock < 1.2 + 0.4
    assert not list(project.folder.rglob("*.part"))
    summary = project.resume()
    assert not summary.stopped
    assert len(final_items(project.database)) == 3


def test_a_second_coordinator_is_refused(project):
    seen = []

    class Intruder(NullListener):
        def started(self, task):
            if not seen:
                with pytest.raises(UserInputError, match="being worked on by process") as caught:
                    Project.open(project.folder).run_workflow(workflow())
                seen.append(caught.value)

    project.run_workflow(workflow(), listener=Intruder())
    assert seen


def test_the_users_word_redoes_what_follows_and_is_kept(project):
    run(project)
    project.exclude("TS_01", [0, 3], "ice")
    _, worked_on = run(project)
    assert worked_on == [("draw", "TS_01"), ("smooth", "TS_01")]
    final = next(item for item in final_items(project.database) if item.name == "TS_01")
    assert final.figures["n_included"] == N_TILTS - 2
    series = project.value(final)
    assert [tilt.exclusion.reason for tilt in series.tilts if tilt.is_excluded] == ["ice", "ice"]
    project.include("TS_01", [0])
    run(project)
    final = next(item for item in final_items(project.database) if item.name == "TS_01")
    assert final.figures["n_included"] == N_TILTS - 1


def test_a_wrong_request_leaves_the_results_as_they_were(project):
    run(project)
    with pytest.raises(UserInputError, match="nothing is called that"):
        run(project, find_series={"refuses": True})
    assert len(final_items(project.database)) == 3
    assert project.find_run("smooth").state == "done"
    project.run("smooth", input="draw", width=9)


def test_results_are_those_of_the_last_request(project):
    for width in (1, 2, 1):
        run(project, smooth={"width": width})
    assert {dict(current_runs(project.database)[-1].parameters)["width"]} == {1}
    assert project.find_run("smooth").parameters["width"] == 1


def test_what_is_reused_is_reported_as_reused(project):
    run(project)
    reported = []

    class Ear(NullListener):
        def finished(self, node, item):
            reported.append((node, item.reused_from is not None))

    project.run_workflow(workflow(), listener=Ear())
    assert reported[:3] == [("find_series", False), ("draw", True), ("smooth", True)]


@pytest.mark.parametrize(("series", "index"), [("TS_01", 77), ("TS_99", 0)])
def test_excluding_what_is_not_there_is_refused(project, series, index):
    run(project)
    with pytest.raises(UserInputError, match=r"there is no series|has no tilt"):
        project.exclude(series, [index])


def test_one_step_on_an_earlier_run(project):
    run(project)
    diary = Diary()
    project.run("smooth", input="draw", items=["TS_03"], width=7, listener=diary)
    assert diary.worked_on == [("smooth", "TS_03")]
    with pytest.raises(UserInputError, match=r"smooth\.with: there is no such parameter; did you mean width"):
        project.run("smooth", input="draw", **{"with": 7})
    with pytest.raises(
        UserInputError, match=r"needs a run that gives its input: give --input RUN; runs here: 1"
    ):
        project.run("smooth")


def test_an_exported_workflow_gives_the_same_graph(project):
    run(project, smooth={"width": 4})
    import yaml

    again = Workflow.model_validate(yaml.safe_load(project.last_workflow().to_yaml()))
    assert again == project.last_workflow()


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([{"step": "find_serie"}], "did you mean find_series"),
        ([{"step": "draw"}], "needs TiltSeries"),
        ([{"step": "find_series"}, {"step": "draw", "input": "smooth"}], "not above it"),
        ([{"step": "find_series"}, {"step": "draw"}, {"step": "draw"}], "two steps called"),
        (
            [{"step": "find_series"}, {"step": "draw", "parameters": {"brightness": -1}}],
            "greater than 0, got -1",
        ),
    ],
)
def test_a_wrong_workflow_is_refused_with_one_sentence(steps, sentence):
    with pytest.raises(UserInputError, match=sentence):
        Workflow.model_validate({"name": "wrong", "steps": steps})


def test_a_project_needs_a_folder_of_its_own(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserInputError, match="is not empty"):
        Project.create(tmp_path)
    with pytest.raises(UserInputError, match="is not a cryoloom project"):
        Project.open(tmp_path)


def test_a_broken_database_is_named(tmp_path):
    (tmp_path / "project.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(UserInputError, match="cannot be opened: file is not a database"):
        Project.open(tmp_path)


def test_decisions_of_an_older_project_become_events(tmp_path):
    project = Project.open(project_with_choices_of_version_3(tmp_path / "old"))
    events = project.decisions()
    assert [(e.kind, e.item, e.target, e.value, e.who, e.why) for e in events] == [
        ("tilt", "TS_01", "0", {"keep": False}, "anna", "ice"),
        ("tilt", "TS_01", "3", {"keep": False}, "anna", "ice"),
        ("tilt", "TS_03", "2", {"keep": True}, "anna", "kept by hand"),
        ("tilt", "TS_01", "0", {"keep": True}, "anna", "kept by hand"),
        ("tilt", "TS_02", "1", {"keep": False}, "anna", 'it\'s "moved"'),
        ("comment", "run:2", "", "bright enough", "", ""),
        ("parameter", "TS_03", "smooth.width", 2, "", "run by hand"),
    ]
    assert [event.batch for event in events] == [event.id for event in events] == [1, 2, 3, 4, 5, 6, 7]
    assert events[0].when.isoformat() == "2026-11-28T15:34:55.711686+00:00"
    overrides = project.database.tilt_overrides()
    assert [(o.acquisition_index, o.keep) for o in overrides["TS_01"]] == [(0, True), (3, False)]
    assert project.find_run("draw").comment == "bright enough"
    project.undo(2, author=Author("anna"))  # what was decided before can be undone as well
    assert [o.acquisition_index for o in project.database.tilt_overrides()["TS_01"]] == [0]


def test_exclusions_of_an_older_project_say_who_decided(tmp_path):
    project = Project.open(project_with_choices_of_version_3(tmp_path / "old"))
    spotted = next(item for item in project.database.items(3) if item.name == "TS_01")
    tilts = load_value(spotted.value, project.folder).tilts
    assert [tilt.exclusion and (tilt.exclusion.by, tilt.exclusion.figure) for tilt in tilts] == [
        (DecidedBy("user", "anna"), None),
        None,
        (DecidedBy("step", "spot"), 0.05),
        (DecidedBy("user", "anna"), None),
        (DecidedBy("user", ""), None),
    ]
    shutil.rmtree(project.folder / "runs")
    project.run_workflow(workflow())  # and the work goes on, with what was decided
    final = {item.name: project.value(item) for item in final_items(project.database)}
    assert [t.acquisition_index for t in final["TS_01"].tilts if t.is_excluded] == [3]
    assert [t.acquisition_index for t in final["TS_02"].tilts if t.is_excluded] == [1]
    assert [t.kept_by for t in final["TS_03"].tilts] == [None, None, DecidedBy("user", "anna"), None, None]


def test_a_decision_is_made_while_a_coordinator_works(project):
    """The whole command, in the time a person waits, without waiting for the coordinator."""
    run(project)
    took = []

    class Visitor(NullListener):
        def started(self, task):
            if not took:
                clock = time.perf_counter()
                Project.open(project.folder).exclude("TS_02", [1], "ice")
                took.append(time.perf_counter() - clock)

    run_again = project.run_workflow(workflow(draw={"brightness": 2.0}), listener=Visitor())
    assert not run_again.failed
    assert took[0] < 5
    assert [(e.target, e.why) for e in project.decisions()] == [("1", "ice")]


def test_what_is_undone_is_made_as_before(project):
    run(project)
    project.exclude("TS_01", [0, 3], "ice")
    run(project)
    undone = project.undo()
    assert [event.target for event in undone] == ["0", "3"]
    _, worked_on = run(project)
    assert worked_on == [("draw", "TS_01"), ("smooth", "TS_01")]
    final = next(item for item in final_items(project.database) if item.name == "TS_01")
    assert final.figures["n_included"] == N_TILTS
