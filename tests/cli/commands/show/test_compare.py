"""Two runs beside each other."""

from __future__ import annotations

import json

import pytest

from cryoloom.errors import UserInputError


def test_two_runs_are_compared_in_a_table_and_as_json(cryoloom, brighter):
    table = cryoloom("compare", "2", "4")
    assert "brightness" in table
    assert "median" in table
    assert "TS_03" in table
    data = json.loads(cryoloom("compare", "2", "4", "--json"))
    assert data["parameters"] == {"brightness": [1.0, 5.0]}
    old, new = data["medians"]["mean"]
    assert new - old == pytest.approx(4, abs=0.5)
    assert "the runs were made alike" in cryoloom("compare", "draw", "4")


def test_parameters_that_only_one_of_two_steps_has_are_counted(cryoloom, project):
    """draw has brightness and tally, smooth has others: a list of them would say nothing."""
    table = cryoloom("compare", "draw", "smooth")
    assert "parameters of this step only" in table
    assert "brightness" not in table.split("item")[0]
    assert "brightness" in json.loads(cryoloom("compare", "draw", "smooth", "--json"))["parameters"]


def test_without_runs_programs_are_compared_with_the_native_steps(cryoloom, project):
    assert "No step was run both natively and with an outside program" in cryoloom("compare")
    project.run("outside_draw", input="find_series", brightness=3.0)
    table = cryoloom("compare")
    assert "run 4 outside_draw" in table
    assert "Time" in table
    (data,) = json.loads(cryoloom("compare", "--json"))
    assert [run["name"] for run in data["runs"]] == ["draw", "outside_draw"]


def test_one_run_alone_is_refused(cryoloom, project):
    with pytest.raises(UserInputError, match="only the run draw was given; give two runs"):
        cryoloom("compare", "draw")
