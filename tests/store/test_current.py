"""One state per series: what is current, what resume does, and what is said of it (decision 18)."""

from __future__ import annotations

import pytest

from cryoloom.engine.coordinator.null_listener import NullListener
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from cryoloom.model import TiltSeries
from cryoloom.store.current_nodes import current_nodes
from cryoloom.store.decisions import Change, in_force
from cryoloom.store.reading import ProjectReader
from makers.fakes import N_TILTS, fake_steps
from makers.old_projects import project_with_choices_of_version_3

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


class Diary(NullListener):
    def __init__(self):
        self.worked_on = []

    def started(self, task):
        self.worked_on.append((task.node, task.item))


@pytest.fixture
def project(tmp_path):
    return Project.create(tmp_path / "project")


def run(project, steps=("find_series", "draw", "smooth"), of_series=None, **parameters):
    workflow = {"name": "fake", "steps": [{"step": s, "parameters": parameters.get(s, {})} for s in steps]}
    diary = Diary()
    summary = project.run_workflow(Workflow.model_validate(workflow), listener=diary, of_series=of_series)
    return summary, diary.worked_on


def resume(project):
    diary = Diary()
    return project.resume(listener=diary), diary.worked_on


def states(project):
    """State of every series, and the same by a reader of its own."""
    state = project.state()
    found = {name: (one.state, one.deciding.node) for name, one in state.series.items()}
    return found


def test_all_is_current_after_a_run(project):
    run(project)
    assert states(project) == dict.fromkeys(("TS_01", "TS_02", "TS_03"), ("current", "smooth"))
    assert [node.run_id for node in project.state().nodes] == [1, 2, 3]


def test_an_exclusion_is_pending_until_resume_applies_it(project):
    run(project)
    project.exclude("TS_02", [1], "ice")
    assert states(project)["TS_02"] == ("outdated", "draw")
    one = project.state().series["TS_02"]
    assert one.deciding.why == "decisions are not applied yet"
    assert one.standings[2].why == "the previous step is recomputed"
    made = project.value(project.database.item(one.standings[2].item.id))
    assert [t.exclusion for t in made.tilts] == [None] * N_TILTS  # as it was made, nothing laid over it
    _, worked_on = resume(project)
    assert worked_on == [("draw", "TS_02"), ("smooth", "TS_02")]
    assert states(project)["TS_02"] == ("current", "smooth")
    project.undo()
    assert states(project)["TS_02"] == ("outdated", "draw")
    _, worked_on = resume(project)
    assert worked_on == [("draw", "TS_02"), ("smooth", "TS_02")]


def test_exclude_then_resume_works_after_a_single_step(project):
    run(project)
    project.run("smooth", input="draw", items=["TS_03"], width=2)
    project.exclude("TS_01", [0])
    project.exclude("TS_03", [0])
    _, worked_on = resume(project)
    assert sorted(worked_on) == [
        ("draw", "TS_01"),
        ("draw", "TS_03"),
        ("smooth", "TS_01"),
        ("smooth", "TS_03"),
    ]
    assert set(states(project).values()) == {("current", "smooth")}
    final = {name: one.result for name, one in project.state().series.items()}
    assert final["TS_01"].own_parameters == {}
    assert final["TS_03"].own_parameters == {"width": 2}


def test_a_step_that_does_not_depend_on_exclusions_stays(project):
    run(project, steps=("find_series", "draw", "choose", "smooth"))
    project.exclude("TS_01", [0])
    assert states(project)["TS_01"] == ("outdated", "draw")
    _, worked_on = resume(project)
    assert worked_on == [("draw", "TS_01"), ("choose", "TS_01"), ("smooth", "TS_01")]
    run_of_choose = project.find_run("choose").id
    chosen = next(i for i in project.database.items(run_of_choose) if i.name == "TS_01")
    assert chosen.made_from["decisions"] is None
    assert set(states(project).values()) == {("current", "smooth")}


def test_a_series_repaired_by_hand_goes_on_and_stays_repaired(project):
    """It failed with everybody's parameters; with its own it is done, also for the next process."""
    summary, _ = run(project, draw={"fails_on": ["TS_02"]})
    assert [item.name for item in summary.failed] == ["TS_02"]
    assert states(project)["TS_02"] == ("failed", "draw")
    project.run("draw", input="find_series", items=["TS_02"], fails_on=())
    assert states(project)["TS_02"] == ("pending", "smooth")
    summary, worked_on = resume(project)
    assert worked_on == [("smooth", "TS_02")]
    assert not summary.failed
    assert states(project)["TS_02"] == ("current", "smooth")
    summary, worked_on = run(project, draw={"fails_on": ["TS_02"]})  # the next process
    assert (worked_on, summary.failed) == ([], [])
    assert states(project)["TS_02"] == ("current", "smooth")


def test_parameters_of_one_series(project):
    run(project, of_series={"TS_03": {"smooth": {"width": "4"}}})
    found = {name: one.result for name, one in project.state().series.items()}
    assert {name: item.own_parameters for name, item in found.items()} == {
        "TS_01": {},
        "TS_02": {},
        "TS_03": {"width": 4},
    }
    assert found["TS_03"].run_id == found["TS_01"].run_id  # one run, one node of the graph
    series = project.value(project.database.item(found["TS_03"].id))
    assert isinstance(series, TiltSeries)
    assert series.weighted.images[0] == pytest.approx(series.stack.images[0] / 4)
    _, worked_on = run(project)  # they hold for the next process
    assert worked_on == []
    project.undo()
    assert states(project)["TS_03"] == ("outdated", "smooth")
    assert project.state().series["TS_03"].deciding.why == "other parameters are requested"
    _, worked_on = resume(project)
    assert worked_on == [("smooth", "TS_03")]
    with pytest.raises(UserInputError, match=r"smooth of TS_01\.wdth: there is no such parameter"):
        run(project, of_series={"TS_01": {"smooth": {"wdth": 4}}})
    assert in_force(project.decisions(), kind="parameter") == ()


def test_a_step_by_hand_on_all_items_takes_the_place_of_the_node(project):
    run(project, of_series={"TS_03": {"smooth": {"width": 4}}})
    project.run("smooth", input="draw", width=7)
    nodes = {node.name: node for node in project.state().nodes}
    assert nodes["smooth"].run_id == 4
    assert set(states(project).values()) == {("current", "smooth")}
    _, worked_on = resume(project)
    assert worked_on == []


def test_a_step_by_hand_on_results_is_appended_and_resumed(project):
    run(project)
    project.run("choose", input="smooth")
    assert [node.name for node in project.state().nodes] == ["find_series", "draw", "smooth", "choose"]
    project.exclude("TS_01", [0])
    assert states(project)["TS_01"] == ("outdated", "draw")
    _, worked_on = resume(project)
    assert worked_on == [("draw", "TS_01"), ("smooth", "TS_01"), ("choose", "TS_01")]
    run(project)  # the workflow again: what was run by hand on it still belongs to it
    assert set(states(project).values()) == {("current", "choose")}


def test_what_was_decided_for_a_step_before_its_first_run_is_used_in_it(project):
    """Picks are given to `pick_by_hand` in the browser before anybody ran it."""
    run(project, ("find_series", "draw"))
    project.decide([Change("parameter", "TS_02", "smooth.width", 5)], "drawn in the browser")
    project.run("smooth", input="draw")
    own = {item.name: item.own_parameters for item in project.database.items(3)}
    assert own == {"TS_01": {}, "TS_02": {"width": 5}, "TS_03": {}}
    assert set(states(project).values()) == {("current", "smooth")}
    _, worked_on = resume(project)
    assert worked_on == []


def test_an_experiment_on_other_results_is_no_part_of_it(project):
    run(project)
    run(project, draw={"brightness": 3.0})
    project.run("smooth", input=2, items=["TS_01"], width=9)  # on the first drawing
    assert set(states(project).values()) == {("current", "smooth")}
    assert project.state().series["TS_01"].result.run_id != project.database.runs()[-1].id
    assert in_force(project.decisions()) == ()


def test_changed_parameters_are_outdated_until_they_are_made(project):
    run(project)
    with pytest.raises(UserInputError, match="nothing is called that"):
        run(project, find_series={"refuses": True})
    assert set(states(project).values()) == {("current", "smooth")}  # a wrong request changes nothing
    seen = []

    class Visitor(NullListener):
        def started(self, task):
            if task.node == "smooth" and task.item == "TS_01":
                with ProjectReader(project.folder) as reader:
                    from cryoloom.store.current import current_state

                    seen.append({n: one.state for n, one in current_state(reader).series.items()})

    steps = [{"step": s} for s in ("find_series", "draw", "smooth")]
    steps[1]["parameters"] = {"brightness": 2.0}
    project.run_workflow(Workflow.model_validate({"name": "fake", "steps": steps}), listener=Visitor())
    assert set(seen[0].values()) <= {"outdated", "pending"}
    assert set(states(project).values()) == {("current", "smooth")}


def test_a_series_that_a_user_leaves_out_is_not_worked_on(project):
    run(project)
    project.curation().exclude_series("TS_02", "wrong grid square")
    assert states(project)["TS_02"] == ("left_out", "find_series")
    _, worked_on = run(project, draw={"brightness": 2.0})
    assert {name for _, name in worked_on} == {"TS_01", "TS_03"}
    project.curation().include_series("TS_02")
    _, worked_on = resume(project)
    assert worked_on == [("draw", "TS_02"), ("smooth", "TS_02")]


def test_a_project_of_an_older_version_has_one_state_too(tmp_path):
    project = Project.open(project_with_choices_of_version_3(tmp_path / "old"))
    nodes = current_nodes(project.database.plans(), project.database.runs())
    assert [(node.name, node.run_id) for node in nodes] == [
        ("find_series", 1),
        ("draw", 2),
        ("spot", 3),
        ("smooth", 4),
    ]
    # Anna's last decisions on TS_01 and TS_02 came after everything was made; those on TS_03 before. What was
    # run by hand on TS_03 alone is a decision on its parameters now.
    assert states(project) == {
        "TS_01": ("outdated", "draw"),
        "TS_02": ("outdated", "draw"),
        "TS_03": ("current", "smooth"),
    }
    assert project.state().series["TS_03"].result.run_id == 5
