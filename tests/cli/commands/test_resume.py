"""What decisions made outdated is made again, and nothing else."""

from __future__ import annotations

import json


def states(cryoloom):
    return {one["item"]: one["state"] for one in map(json.loads, cryoloom("status", "--json").splitlines())}


def test_only_the_changed_series_is_made_again(cryoloom, project):
    cryoloom("exclude", "TS_02", "1")
    assert states(cryoloom)["TS_02"] == "outdated"
    n_runs = len(project.database.runs())
    printed = cryoloom("resume", "--dry-run")
    assert "draw" in printed
    assert len(project.database.runs()) == n_runs
    cryoloom("resume")
    assert set(states(cryoloom).values()) == {"current"}
    drawn = {
        one["item"]: one["figures"]["n_included"]
        for one in map(json.loads, cryoloom("results", "--json").splitlines())
        if one["step"] == "draw" and one["figures"]
    }
    assert drawn == {"TS_01": 5, "TS_02": 4, "TS_03": 5}


def test_an_up_to_date_project_has_nothing_to_do(cryoloom, project):
    before = [run.id for run in project.database.runs()]
    cryoloom("resume")
    assert [run.id for run in project.database.runs()] == before
