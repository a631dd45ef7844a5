"""Graphs of steps: two inputs, branches, items left out, steps that do not exist yet."""

from __future__ import annotations

import sqlite3
import zlib

import numpy as np
import pytest

from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.history.results import final_items
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from cryoloom.store.database import Database
from cryoloom.store.names import TABLES_VERSION
from makers.fakes import fake_steps
from makers.graphs import run, two_branches
from makers.old_projects import project_of_version_3

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]


@pytest.fixture
def project(tmp_path):
    return Project.create(tmp_path / "project")


def states(project, node):
    return {item.name: item.state for item in project.database.items(project.find_run(node).id)}


def test_a_step_with_two_inputs_gets_both_of_the_same_name(project):
    summary, worked_on = run(project, *two_branches())
    assert not summary.failed
    assert [name for node, name in worked_on if node == "merge"] == ["TS_01", "TS_02", "TS_03"]
    for item in final_items(project.database):
        series = project.value(item)
        np.testing.assert_allclose(series.weighted.images[1], series.stack.images[1] / 2, rtol=1e-6)
    merged = project.find_run("merge")
    assert merged.links == {"second_from": project.find_run("smooth").id}
    _, worked_on = run(project, *two_branches())
    assert worked_on == []


def test_either_input_redoes_what_has_two(project):
    run(project, *two_branches())
    _, worked_on = run(project, *two_branches(parameters={"width": 3}))
    assert {node for node, _ in worked_on} == {"smooth", "merge"}
    assert {item.figures["merged"] for item in final_items(project.database)} == {1.0}


def test_a_second_input_may_be_an_earlier_run(project):
    run(project, *two_branches()[:3])
    draw, smooth = project.find_run("draw"), project.find_run("smooth")
    step = {"step": "merge", "input": f"run:{draw.id}", "second_from": f"run:{smooth.id}"}
    summary, worked_on = run(project, step)
    assert len(worked_on) == 3
    assert not summary.failed


def test_an_item_without_partner_fails_with_its_name(project):
    steps = two_branches(items=["TS_01", "TS_03"])
    summary, _ = run(project, *steps)
    assert [(item.name, item.state) for item in summary.failed] == [("TS_02", "failed")]
    assert "there is no item of that name in smooth" in summary.failed[0].error["message"]
    assert states(project, "merge") == {"TS_01": "done", "TS_02": "failed", "TS_03": "done"}


def test_a_failed_item_of_a_further_input_is_reported_once(project):
    steps = list(two_branches())
    steps[1] = {"step": "draw", "parameters": {"fails_on": ["TS_02"]}}
    summary, _ = run(project, *steps)
    assert [(item.name, item.error["message"]) for item in summary.failed] == [("TS_02", "too few tilts")]


def chosen(at_least):
    return (
        {"step": "find_series"},
        {"step": "draw"},
        {"step": "choose", "parameters": {"at_least": at_least}},
        {"step": "smooth"},
    )


def test_an_item_left_out_is_neither_failed_nor_done(project):
    run(project, {"step": "find_series"}, {"step": "draw"})
    means = sorted(i.figures["mean"] for i in project.database.items(project.find_run("draw").id))
    limit = (means[0] + means[1]) / 2
    summary, _ = run(project, *chosen(limit))
    assert not summary.failed
    assert [item.state for item in summary.left_out] == ["left_out"]
    assert f"expected {limit:g}" in summary.left_out[0].reason
    assert summary.n_done == 3 + 3 + 2 + 2
    assert sorted(states(project, "choose").values()) == ["done", "done", "left_out"]
    assert len(states(project, "smooth")) == 2
    assert project.find_run("choose").state == "done"
    assert {item.name for item in final_items(project.database)} == set(states(project, "smooth"))


def test_another_choice_redoes_only_the_choice(project):
    run(project, *chosen(-100))
    summary, worked_on = run(project, *chosen(-200))
    assert {node for node, _ in worked_on} == {"choose"}
    assert summary.n_done == 12
    _, worked_on = run(project, *chosen(-200))
    assert worked_on == []


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([{"step": "find_series"}, {"step": "merge"}], "needs second_from, got none"),
        ([{"step": "find_series"}, {"step": "draw", "x_from": "find_series"}], "needs no further inputs"),
        ([{"step": "find_series"}, {"step": "merge", "second_from": "draw"}], "second_from from 'draw'"),
    ],
)
def test_a_wrong_link_is_one_sentence(steps, sentence):
    with pytest.raises(UserInputError, match=sentence):
        Workflow.model_validate({"name": "wrong", "steps": steps})


def test_tables_of_version_3_are_brought_up_to_date(tmp_path):
    project = Project.open(project_of_version_3(tmp_path / "old"))
    _, worked_on = run(project, *chosen(-100))
    assert worked_on == []  # what the old code made is taken over
    with sqlite3.connect(project.folder / "project.sqlite") as new:
        assert new.execute("SELECT value FROM settings").fetchall() == [(TABLES_VERSION,)]


def test_tables_of_the_first_version_are_brought_up_to_date(tmp_path):
    folder = project_of_version_3(tmp_path / "old")
    with sqlite3.connect(folder / "project.sqlite") as old:
        old.execute("ALTER TABLE runs DROP COLUMN links")
        old.execute("ALTER TABLE items DROP COLUMN other_inputs")
        old.execute("ALTER TABLE items DROP COLUMN reason")
        old.execute("DROP TABLE exports")
        for column in ("value", "records"):
            old.execute(f"ALTER TABLE items ADD COLUMN {column} JSON")
            for item_id, packed in old.execute(f"SELECT item_id, {column} FROM contents").fetchall():
                text = None if packed is None else zlib.decompress(packed).decode()
                old.execute(f"UPDATE items SET {column} = ? WHERE id = ?", (text, item_id))
        old.execute("DROP TABLE contents")
        old.execute("DROP INDEX states_of_a_run")
        old.execute("UPDATE settings SET value = '1' WHERE name = 'tables_version'")
    project = Project.open(folder)
    _, worked_on = run(project, *chosen(-100))
    assert worked_on == []
    with sqlite3.connect(project.folder / "project.sqlite") as new:
        assert new.execute("SELECT value FROM settings").fetchall() == [(TABLES_VERSION,)]
        new.execute("UPDATE settings SET value = '999'")
    with pytest.raises(UserInputError, match="tables have version 999"):
        Database.open(project.folder)
