"""The requested workflow as it stands now, and what a step run by hand says about it."""

from __future__ import annotations

import pytest

from cryoloom.engine.graph.current_workflow import changes_by_hand, changes_of_series, current_workflow
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.history.runs import plan_of_one_step
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from cryoloom.store.decisions import Change
from makers.fakes import fake_steps

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


def chain():
    steps = [{"step": "find_series"}, {"step": "draw", "parameters": {"brightness": 2.0}}, {"step": "smooth"}]
    return Workflow.model_validate({"name": "chain", "steps": steps})


@pytest.fixture
def project(tmp_path):
    project = Project.create(tmp_path / "project")
    project.run_workflow(chain())
    return project


def by_hand(project, items=(), **values):
    plan = plan_of_one_step(project.database, "smooth", input=None, like="smooth", items=items, values=values)
    return changes_by_hand(project.database, plan, values)


def test_there_is_none_before_the_first_request(tmp_path):
    assert current_workflow(Project.create(tmp_path / "p").database) is None


def test_it_is_what_was_asked_for(project):
    found = current_workflow(project.database)
    assert found.name == "chain"
    assert [(n.name, n.input) for n in found.steps] == [
        ("find_series", None),
        ("draw", "find_series"),
        ("smooth", "draw"),
    ]
    assert found.node("draw").parameters["brightness"] == 2.0


def test_a_step_run_by_hand_on_its_results_belongs_to_it(project):
    project.run("choose", input="draw")
    found = current_workflow(project.database)
    assert found.node("choose").input == "draw"


def test_parameters_of_a_series_become_decisions_that_the_step_has_checked():
    changes = changes_of_series(chain(), {"TS_01": {"smooth": {"width": "7"}}})
    assert changes == (Change("parameter", "TS_01", "smooth.width", 7),)  # a number, as the step reads it
    with pytest.raises(UserInputError, match="smooth of TS_01"):
        changes_of_series(chain(), {"TS_01": {"smooth": {"width": "wide"}}})
    with pytest.raises(UserInputError):
        changes_of_series(chain(), {"TS_01": {"nothing": {"width": 7}}})


def test_by_hand_on_one_series_what_differs_becomes_its_own(project):
    assert by_hand(project, ["TS_01"], width=7) == (Change("parameter", "TS_01", "smooth.width", 7),)
    assert by_hand(project, ["TS_01"], width=1) == ()  # the same as for the others


def test_by_hand_on_one_series_the_common_value_takes_its_own_back(project):
    project.decide([Change("parameter", "TS_01", "smooth.width", 7)])
    assert by_hand(project, ["TS_01"], width=1) == (Change("parameter", "TS_01", "smooth.width", None),)


def test_by_hand_on_all_series_the_new_value_is_everyones(project):
    project.decide([Change("parameter", "TS_01", "smooth.width", 7)])
    assert by_hand(project, width=5) == (Change("parameter", "TS_01", "smooth.width", None),)
    assert by_hand(project, folder=None) == ()  # another parameter leaves it


def test_an_experiment_on_other_results_decides_nothing(project):
    project.run("draw", like="draw", brightness=9.0)
    other = project.find_run("draw")
    plan = plan_of_one_step(
        project.database, "smooth", input="find_series", like="smooth", items=["TS_01"], values={"width": 7}
    )
    assert changes_by_hand(project.database, plan, {"width": 7}) == ()
    assert other.parameters["brightness"] == 9.0
