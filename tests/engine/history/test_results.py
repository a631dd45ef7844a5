"""Results of a project as scripts read them: names of runs, sentences of errors, and what was made last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cryoloom.engine.history.results import (
    by_activity,
    current_runs,
    final_items,
    history_of,
    named_run,
    names_of,
    results_of,
)
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from cryoloom.store.records import RunRecord
from makers.fakes import fake_steps
from makers.graphs import run as run_steps

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def a_run(number, node, ended=None):
    return RunRecord(
        number, node, "draw", 1, {}, None, "done", NOON + timedelta(minutes=number),
        None if ended is None else NOON + timedelta(minutes=ended), {},
    )  # fmt: skip


@pytest.fixture
def project(tmp_path):
    project = Project.create(tmp_path / "project")
    run_steps(
        project,
        {"step": "find_series", "parameters": {"bad": ["TS_02"]}},
        {"step": "draw", "parameters": {"fails_on": ["TS_03"]}},
        {"step": "smooth"},
    )
    return project


def test_every_item_has_a_line_with_files_that_exist_or_an_error(project):
    results = results_of(project.database, project.folder)
    by_item = {(one.step, one.item): one for one in results}
    assert by_item["find_series", "TS_02"].error.endswith("(series=TS_02)")
    assert by_item["draw", "TS_03"].error == "too few tilts (n_tilts=4, needed=10)"
    done = by_item["draw", "TS_01"]
    assert done.error is None
    assert done.files
    assert all(Path(path).is_file() for path in done.files.values())
    assert ("smooth", "TS_03") not in by_item


def test_a_result_that_was_reused_has_the_files_of_the_first(project):
    run_steps(
        project,
        {"step": "find_series", "parameters": {"bad": ["TS_02"]}},
        {"step": "draw", "parameters": {"fails_on": ["TS_03"], "seconds": 0.0}},
        {"step": "smooth", "parameters": {"width": 5}},
    )
    results = [one for one in results_of(project.database, project.folder) if one.item == "TS_01"]
    made = [one for one in results if one.step == "draw"]
    assert len({tuple(one.files.items()) for one in made}) == 1


def test_the_history_of_a_series_ends_where_it_failed(project):
    history = history_of(project.database)
    assert [(run.node, item.state) for run, item in history["TS_03"]] == [
        ("find_series", "done"), ("draw", "failed"),
    ]  # fmt: skip
    assert [run.node for run, _ in history["TS_01"]] == ["find_series", "draw", "smooth"]
    assert [run.node for run in current_runs(project.database)] == ["find_series", "draw", "smooth"]
    finals = {item.name: item for item in final_items(project.database)}
    assert finals["TS_01"].value is not None
    assert finals["TS_01"].run_id == 3


def test_a_run_is_named_by_number_folder_or_by_the_last_of_a_name():
    runs = [a_run(1, "draw", ended=50), a_run(2, "draw", ended=20), a_run(3, "smooth")]
    assert named_run(runs, 2).id == 2
    assert named_run(runs, "002_draw").id == 2
    assert named_run(runs, "draw").id == 1  # continued after the other had ended
    assert [run.id for run in by_activity(runs)] == [2, 1, 3]  # what works is the last
    with pytest.raises(UserInputError, match=r"no run 'ctf'; runs here: 1 \(draw\), 2 \(draw\), 3 "):
        named_run(runs, "ctf")
    assert names_of([]) == "none"
