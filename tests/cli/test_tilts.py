"""Every tilt of every series, as a table, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json

import pytest

from cryoloom.cli.tilts import show_tilts
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.project import Project
from cryoloom.store.reading import ProjectReader
from makers.fakes import N_TILTS, fake_steps

__all__ = ["fake_steps"]


@pytest.fixture
def shown(tmp_path, fake_steps, capsys):
    project = Project.create(tmp_path / "project")
    steps = [{"step": "find_series", "parameters": {"n_series": 2}}, {"step": "draw"}]
    project.run_workflow(Workflow.model_validate({"name": "two", "steps": steps}))
    project.exclude("TS_02", [1], reason="ice")
    project.resume()
    project.exclude("TS_01", [3], reason="drift")
    project.include("TS_02", [1])
    capsys.readouterr()

    def show(form):
        with ProjectReader(project.folder) as reader:
            show_tilts(reader, form)
        return capsys.readouterr().out

    return show


def test_a_table_for_every_series(shown):
    text = shown("table")
    assert "TS_01 (outdated)" in text
    assert text.count("kept") >= 2 * N_TILTS - 1
    assert "ice" in text
    assert text.count("exclusion") == 1  # of the tilt that is still in use
    assert text.count("keeping") == 1


def test_csv_has_one_row_for_each_tilt(shown):
    rows = list(csv.DictReader(io.StringIO(shown("csv"))))
    assert len(rows) == 2 * N_TILTS
    assert [row["series"] for row in rows[::N_TILTS]] == ["TS_01", "TS_02"]
    assert {row["state"] for row in rows} == {"outdated"}
    (excluded,) = [row for row in rows if row["is_kept"] == "False"]
    assert (excluded["series"], excluded["acquisition_index"], excluded["reason"]) == ("TS_02", "1", "ice")
    assert rows[0]["reason"] == ""
    pending = {(row["series"], row["acquisition_index"]): row["pending"] for row in rows if row["pending"]}
    assert pending == {("TS_01", "3"): "exclude", ("TS_02", "1"): "keep"}


def test_json_says_the_same(shown):
    lines = [json.loads(line) for line in shown("json").splitlines()]
    assert len(lines) == 2 * N_TILTS
    assert [line["acquisition_index"] for line in lines if not line["is_kept"]] == [1]
