"""Steps that take all items at once, and steps with several outputs."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest

import cryoloom.contract.discovery as discovery
from cryoloom.contract import Gathered, Outputs, Shared, StepParams, step
from cryoloom.engine.coordinator.null_listener import NullListener
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from cryoloom.model import Average, Microscope, Particles, Tilt, TiltSeries
from cryoloom.store.codec import encode, fingerprint
from cryoloom.store.records import ItemRecord
from makers.fakes import fake_steps, merge
from makers.graphs import Diary

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


@pytest.fixture
def project(tmp_path):
    return Project.create(tmp_path / "project")


def plan(*steps):
    return Workflow.model_validate({"name": "gathering", "steps": list(steps)})


def run(project, *steps, **how):
    diary = Diary()
    return project.run_workflow(plan(*steps), listener=diary, **how), diary.worked_on


def drawn(**parameters):
    return (
        {"step": "find_series", "parameters": parameters.pop("find", {})},
        {"step": "draw", "parameters": parameters},
    )


def item(project, node, name, output=""):
    items = project.database.items(project.find_run(node).id)
    return next(i for i in items if (i.name, i.output) == (name, output))


def states(project, node):
    return {(i.name, i.output): i.state for i in project.database.items(project.find_run(node).id)}


def test_all_items_become_one_and_go_on_as_single_ones(project):
    steps = (*drawn(), {"step": "average_all"}, {"step": "smooth", "input": "average_all.series"})
    summary, worked_on = run(project, *steps)
    assert not summary.failed
    assert worked_on[-4:-3] == [("average_all", "all")]
    assert sorted(worked_on[-3:]) == [("smooth", f"TS_0{i}") for i in (1, 2, 3)]
    average = project.value(item(project, "average_all", "all"))
    drawn_images = [project.value(item(project, "draw", f"TS_0{i}")).stack.images[:] for i in (1, 2, 3)]
    mean = np.mean([images[2] for images in drawn_images], axis=0)
    np.testing.assert_allclose(average.map[0], mean, rtol=1e-6)
    smoothed = project.value(item(project, "smooth", "TS_02")).weighted.images[:]
    np.testing.assert_allclose(smoothed, drawn_images[1] - mean, atol=1e-5)
    assert states(project, "average_all") == {
        ("all", ""): "done",
        ("TS_01", "series"): "done",
        ("TS_02", "series"): "done",
        ("TS_03", "series"): "done",
    }
    assert project.find_run("smooth").outputs == {"input": "series"}
    _, worked_on = run(project, *steps)
    assert worked_on == []


def test_the_origin_of_what_fans_out_leads_to_everything_that_was_gathered(project):
    run(project, *drawn(), {"step": "average_all"}, {"step": "smooth", "input": "average_all.series"})
    origin = project.origin(project.folder / item(project, "smooth", "TS_02").files[0].path)[0]
    names = [(run.node, item.name) for run, item in origin.steps]
    assert set(names) == {
        *((node, f"TS_0{i}") for i in (1, 2, 3) for node in ("find_series", "draw")),
        ("average_all", "all"),
        ("average_all", "TS_02"),
        ("smooth", "TS_02"),
    }
    assert names[-3:] == [("average_all", "all"), ("average_all", "TS_02"), ("smooth", "TS_02")]


def test_a_main_output_that_is_a_tuple_goes_on_as_single_items(project):
    steps = (*drawn(), {"step": "turn_all"}, {"step": "smooth"})
    summary, worked_on = run(project, *steps)
    assert not summary.failed
    assert [name for node, name in worked_on if node == "smooth"] == ["TS_01", "TS_02", "TS_03"]
    whole = item(project, "turn_all", "all")
    assert whole.is_fanned_out
    assert [one.name for one in project.values(whole)] == ["TS_01", "TS_02", "TS_03"]
    assert project.value(item(project, "smooth", "TS_03")).tilt_axis_deg.measured == 3
    _, worked_on = run(project, *steps)
    assert worked_on == []
    _, worked_on = run(
        project, {"step": "smooth", "name": "again", "input": f"run:{project.find_run('turn_all').id}"}
    )
    assert worked_on == []  # the same inputs, whichever way they come


def test_failed_and_left_out_items_do_not_hold_the_others_up_and_are_named(project):
    steps = (*drawn(find={"n_series": 4, "bad": ["TS_04"]}, fails_on=["TS_02"]), {"step": "average_all"})
    summary, _ = run(project, *steps)
    assert sorted(i.name for i in summary.failed) == ["TS_02", "TS_04"]
    whole = item(project, "average_all", "all")
    assert whole.figures == {"n_series": 2}
    assert whole.warnings == ("2 of 4 items failed or were left out before: TS_02, TS_04",)
    earlier = {"step": "average_all", "name": "again", "input": f"run:{project.find_run('draw').id}"}
    run(project, earlier | {"parameters": {"name": "some"}})
    assert item(project, "again", "some").warnings == ("1 of 3 items failed or were left out before: TS_02",)


def test_where_everything_failed_nothing_is_gathered(project):
    summary, worked_on = run(project, *drawn(flaw="half"), {"step": "average_all"})
    assert [i.state for i in summary.failed] == ["failed"] * 3
    assert ("average_all", "all") not in worked_on


def test_the_key_is_made_of_all_inputs_and_of_decisions_on_them(project):
    steps = (*drawn(), {"step": "average_all"}, {"step": "smooth", "input": "average_all.series"})
    run(project, *steps)
    project.exclude("TS_02", [1])
    _, worked_on = run(project, *steps)
    assert ("average_all", "all") in worked_on
    assert ("draw", "TS_01") not in worked_on
    more = (*drawn(find={"n_series": 4}), *steps[2:])
    _, worked_on = run(project, *more)
    assert worked_on[:2] == [("draw", "TS_04"), ("average_all", "all")]
    assert item(project, "average_all", "all").figures == {"n_series": 4}
    fewer = (*more[:2], {**steps[2], "items": ["TS_01", "TS_03"]})
    _, worked_on = run(project, *fewer)
    assert worked_on == [("average_all", "all")]
    assert item(project, "average_all", "all").figures == {"n_series": 2}
    assert states(project, "average_all")["TS_04", "series"] == "left_out"  # no longer given


def test_the_result_is_named_by_a_parameter(project):
    run(project, *drawn(), {"step": "average_all", "parameters": {"name": "ribosome"}})
    assert project.value(item(project, "average_all", "ribosome")).name == "ribosome"


def test_one_shared_item_goes_to_every_other(project):
    steps = (
        *drawn(),
        {"step": "average_all"},
        {"step": "subtract_average", "input": "draw", "average_from": "average_all"},
    )
    summary, worked_on = run(project, *steps)
    assert not summary.failed
    assert [name for node, name in worked_on if node == "subtract_average"] == ["TS_01", "TS_02", "TS_03"]
    run_id = project.find_run("average_all").id
    alone = {"step": "subtract_average", "name": "alone", "input": "run:2", "average_from": f"run:{run_id}"}
    _, worked_on = run(project, alone)
    assert worked_on == []
    other = (*steps[:2], {"step": "average_all", "parameters": {"name": "other"}}, steps[3])
    _, worked_on = run(project, *other)
    assert {node for node, _ in worked_on} == {"average_all", "subtract_average"}


def test_two_items_where_one_is_shared_is_an_error_that_names_both(project, monkeypatch):
    of_one = dataclasses.replace(merge.declaration, also_needs={"second_from": Shared(TiltSeries)})
    steps = {**discovery.all_steps(), "merge": of_one}
    monkeypatch.setattr(discovery, "all_steps", lambda: steps)
    with pytest.raises(UserInputError, match="the same for all, but find_series gives TS_01 and TS_02"):
        run(project, *drawn(), {"step": "merge", "second_from": "find_series"})


def test_an_item_may_take_all_items_of_a_further_input(project):
    steps = (*drawn(), {"step": "smooth"}, {"step": "compare_all", "input": "draw", "all_from": "smooth"})
    summary, worked_on = run(project, *steps)
    assert not summary.failed
    assert worked_on[-3:] == [("compare_all", f"TS_0{i}") for i in (1, 2, 3)]
    figures = [item(project, "compare_all", f"TS_0{i}").figures for i in (1, 2, 3)]
    assert figures == [{"position": i, "n_all": 3} for i in range(3)]
    _, worked_on = run(project, *steps)
    assert worked_on == []


def test_a_missing_shared_item_is_reported_once(project):
    failing = (
        {"step": "find_series"},
        {"step": "draw"},
        {"step": "smooth", "parameters": {"width": 2}},
        {"step": "average_all", "input": "smooth", "items": ["TS_09"]},
        {"step": "subtract_average", "input": "draw", "average_from": "average_all"},
    )
    summary, _ = run(project, *failing)
    assert sorted(i.name for i in summary.failed) == ["TS_01", "TS_02", "TS_03"]
    assert "there is no item in average_all" in summary.failed[0].error["message"]


class Acquisition:
    """A live source: names come when they are let go."""

    def __init__(self, *script):
        self.script = script

    def __call__(self, node, run, project):
        for entry in self.script:
            if callable(entry):
                while not entry():
                    yield None
                continue
            name, n_tilts = entry
            tilts = tuple(Tilt(k, 3.0 * k, 3.0 * k, 3.0 * k + 3.0) for k in range(n_tilts))
            value = encode(TiltSeries(name, Microscope(), 2.5, tilts), project)
            yield ItemRecord(run.id, name, fingerprint(name, n_tilts), "done", value=value)


def test_a_live_source_is_gathered_when_it_closes_or_when_the_user_asks_it(project):
    gathered = []

    class Ear(NullListener):
        def finished(self, node, item):
            if node == "average_all":
                gathered.append(item.figures["n_series"])

        def planned(self, workflow):
            self.began = time.monotonic()

    ear = Ear()
    asked = threading.Event()

    def two_are_drawn():
        is_there = sum(i.state == "done" for i in project.database.items()) >= 4
        if is_there and not asked.is_set():
            assert not gathered  # the source is open
            project.gather("average_all")
            asked.set()
        return len(gathered) == 1

    live = Acquisition(
        lambda: time.monotonic() > ear.began + 0.1, ("TS_01", 5), ("TS_02", 5), two_are_drawn, ("TS_03", 5)
    )
    steps = ({"step": "find_series"}, {"step": "draw"}, {"step": "average_all"})
    summary = project.run_workflow(plan(*steps), listener=ear, open_source=live)
    assert not summary.failed
    assert gathered == [2, 3]
    assert not list(project.folder.glob("requests/*"))
    with pytest.raises(UserInputError, match="no gathering step 'draw' in the workflow; it has average_all"):
        project.gather("draw")


def test_a_later_item_makes_it_run_again_on_resume(project, tmp_path):
    switch = tmp_path / "switch"
    switch.touch()
    project.run_workflow(plan(*drawn(), {"step": "average_all"}))
    steps = (
        {"step": "find_series", "parameters": {"n_series": 4}},
        {"step": "draw"},
        {"step": "average_all"},
    )
    _, worked_on = run(project, *steps)
    assert worked_on == [("draw", "TS_04"), ("average_all", "all")]


def test_an_output_that_is_not_there_is_named():
    with pytest.raises(UserInputError, match=r"but average_all has series"):
        plan(*drawn(), {"step": "average_all"}, {"step": "smooth", "input": "average_all.tomograms"})
    with pytest.raises(UserInputError, match="draw has no further outputs"):
        plan(*drawn(), {"step": "smooth", "input": "draw.series"})
    with pytest.raises(UserInputError, match="needs a TiltSeries, but average_all gives a Average"):
        plan(*drawn(), {"step": "average_all"}, {"step": "smooth"})


def test_one_step_by_hand_takes_a_further_output(project):
    run(project, *drawn(), {"step": "average_all"})
    assert project.run("smooth", input="average_all.series").n_done == 3
    assert project.find_run("smooth").outputs == {"input": "series"}
    assert project.run("smooth", like="smooth", width=2).n_done == 3
    written = project.workflow()
    assert written.node("smooth").input == "average_all.series"


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"per": "tilt_series", "gathers": True}, "a step per tilt_series does not gather"),
        ({"per": "particle_set", "gathers": True, "named_by": "nothing"}, "no parameter 'nothing'"),
        ({"per": "tilt_series", "named_by": "n"}, "only a gathering step names its result"),
        ({"per": "tilt_series", "also_needs": {"average": Shared(Average)}}, "ends in _from"),
        ({"per": "tilt_series", "also_gives": {"a b": Average}}, "plain name"),
        ({"per": "tomogram", "needs": None}, "a source works per"),
        ({"per": "tomogram"}, "works on one TiltSeries is per tilt_series"),
        (
            {"per": "tilt_series", "needs": Particles},
            "works on one Particles is per particle_set or tomogram",
        ),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(declared, sentence):
    class Params(StepParams):
        n: int = 1

    def wrong(item, params: Params, context):
        """Do nothing."""

    wrong.__annotations__["params"] = Params
    with pytest.raises(ValueError, match=sentence):
        step("wrong", gives=Average, bytes_needed=lambda i, p: 1, **{"needs": TiltSeries, **declared})(wrong)


def test_what_is_given_is_checked_against_the_declaration(project, monkeypatch):
    import makers.fakes as fakes

    def check(changed, sentence):
        monkeypatch.setattr(fakes, "Outputs", changed)
        summary, _ = run(project, *drawn(), {"step": "average_all"})
        assert sentence in summary.failed[0].error["message"]

    check(lambda main, others: main, "declares the outputs ['series'], but gave []")
    check(
        lambda main, others: Outputs(main, {"series": (main,)}), "declares a TiltSeries, but gave a Average"
    )
    doubled = lambda main, others: Outputs(main, {"series": 2 * others["series"]})  # noqa: E731
    check(doubled, "two items called 'TS_01' as series")
    assert Gathered(Average) != Shared(Average)


def ahead(project, *steps):
    return {n.node: (n.n_there, n.n_now, n.n_later) for n in project.dry_run(plan(*steps))}


def test_a_dry_run_says_that_a_gathering_step_waits(project):
    steps = (
        *drawn(),
        {"step": "average_all"},
        {"step": "smooth", "input": "average_all.series"},
        {"step": "subtract_average", "input": "draw", "average_from": "average_all"},
        {"step": "compare_all", "input": "draw", "all_from": "smooth"},
    )
    assert ahead(project, *steps) == {
        "find_series": (3, 0, 0),
        "draw": (0, 3, 0),
        "average_all": (0, 0, 1),
        "smooth": (0, 0, 3),
        "subtract_average": (0, 0, 3),
        "compare_all": (0, 0, 3),
    }
    run(project, *steps[:2])
    assert ahead(project, *steps)["average_all"] == (0, 1, 0)
    assert ahead(project, *steps)["smooth"] == (0, 0, 3)
    run(project, *steps)
    assert {counts[1:] for counts in ahead(project, *steps).values()} == {(0, 0)}
    more = (*drawn(find={"n_series": 4}), *steps[2:])
    assert ahead(project, *more)["draw"] == (3, 1, 0)
    assert ahead(project, *more)["average_all"] == (0, 0, 1)
    assert ahead(project, *more)["subtract_average"] == (0, 0, 4)
