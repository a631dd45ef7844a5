"""One item through one step: files where it succeeds, none where it fails, and memory as steps declare it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cryoloom.engine.worker.item_log import LOG_NAME
from cryoloom.engine.worker.task import (
    Resources,
    Task,
    bytes_needed,
    bytes_per_part,
    bytes_stored,
    execute,
    load_taken,
)
from cryoloom.model import DecidedBy, Microscope, Tilt, TiltOverride, TiltSeries
from cryoloom.store.codec import encode
from makers.fakes import fake_steps

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]
RESOURCES = Resources("cpu", 1, 1 << 30)


@pytest.fixture
def task(tmp_path):
    tilts = tuple(Tilt(k, 3.0 * k, 3.0 * k, 3.0 * k + 3.0) for k in range(5))
    value = encode(TiltSeries("TS_01", Microscope(), 2.5, tilts), tmp_path)
    return Task(
        project=tmp_path, node="draw", step="draw", parameters={"brightness": 2.0},
        run_folder="runs/002_draw", run_id=2, item="TS_01", key="00112233445566778899", value=value,
    )  # fmt: skip


def run(task):
    reported = []
    outcome = execute(task, RESOURCES, lambda done, total: reported.append((done, total)))
    return outcome, reported


def files_of(task):
    folder = task.project / task.run_folder / task.item
    return {path.name for path in folder.glob("*") if path.name != LOG_NAME}


def test_a_result_is_plain_data_with_files_figures_and_a_log(task):
    outcome, reported = run(task)
    assert outcome.error is None
    assert reported == [(i, 5) for i in range(1, 6)]
    assert json.loads(json.dumps(outcome.value)) == outcome.value
    assert outcome.figures["n_included"] == 5
    assert outcome.figures["mean"] == pytest.approx(2.0, abs=0.2)
    assert {file.path.name for file in outcome.files} == files_of(task) != set()
    assert "done in" in (task.project / task.run_folder / "TS_01" / LOG_NAME).read_text()


def test_a_session_that_was_copied_gives_the_same_result(task):
    """The key contains where raw data are and when they were written; random numbers must not."""
    drawn = run(task)[0].figures["mean"]
    assert run(replace(task, key="99" * 10, run_folder="runs/007_draw", run_id=7))[0].figures["mean"] == drawn
    assert run(replace(task, item="TS_02"))[0].figures["mean"] != drawn


def test_a_failure_leaves_no_file_and_its_numbers(task):
    outcome, _ = run(replace(task, parameters={"fails_on": ["TS_01"]}))
    assert outcome.value is None
    assert outcome.error == {
        "kind": "DataUnfitError", "message": "too few tilts", "facts": {"n_tilts": "4", "needed": "10"},
    }  # fmt: skip
    assert files_of(task) == set()
    assert (
        "failed: too few tilts, n_tilts=4"
        in (task.project / task.run_folder / "TS_01" / LOG_NAME).read_text()
    )


@pytest.mark.parametrize(("flaw", "words"), [("name", "name"), ("type", "TiltSeries"), ("nan", "finite")])
def test_a_wrong_result_is_refused_before_it_is_recorded(task, flaw, words):
    parameters = {"nan": True} if flaw == "nan" else {"flaw": flaw}
    outcome, _ = run(replace(task, parameters=parameters))
    assert outcome.value is None
    assert words in outcome.error["message"]
    assert files_of(task) == set()


def test_decisions_of_users_are_in_what_the_step_takes(task):
    decided = replace(task, overrides={"TS_01": (TiltOverride(2, False, "ice", DecidedBy("user", "ada")),)})
    taken = load_taken(decided.value, decided)
    assert [tilt.acquisition_index for tilt in taken.included] == [0, 1, 3, 4]
    assert run(decided)[0].figures["n_included"] == 4
    both = load_taken((decided.value, decided.value), decided)
    assert [len(series.included) for series in both] == [4, 4]


def test_memory_is_what_the_step_declares_and_0_where_that_fails(task):
    assert bytes_needed(task) == 1
    assert bytes_per_part(task) == bytes_stored(task) == 0
    assert bytes_needed(replace(task, value={"$type": "no such type"})) == 0
    assert bytes_needed(replace(task, parameters={"brightness": -1})) == 0
