"""From the values of a form to a command: what can be made of them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cryoloom.errors import UserInputError
from cryoloom.web import step_child
from cryoloom.web.roots import Roots
from cryoloom.web.run_request import RunRequest, command_of


@pytest.fixture(scope="module")
def catalogue() -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in step_child.answer({"do": "catalogue"})["steps"]}


def test_the_command_is_what_a_user_types(catalogue: dict[str, Any], tmp_path: Path) -> None:
    request = RunRequest(
        step="select_tilts",
        input="2",
        items=("-x", "TS_01"),
        parameters={"dark_ratio": 0.5, "exclude_tilts": [1]},
    )
    command = command_of(request, catalogue["select_tilts"], Roots((tmp_path,)))
    assert command == [
        *("run", "select_tilts", "--project", ".", "--input", "2", "--item=-x", "--item=TS_01"),
        *("--set", "dark_ratio=0.5", "--set", "exclude_tilts=[1]"),
    ]


def test_a_further_output_of_a_run_can_be_the_input(catalogue: dict[str, Any], tmp_path: Path) -> None:
    assert catalogue["refine"]["also_gives"] == {"particles": "Particles"}
    request = RunRequest(step="refine", input="9.particles")
    command = command_of(request, catalogue["refine"], Roots((tmp_path,)))
    assert command == ["run", "refine", "--project", ".", "--input", "9.particles"]
    with pytest.raises(ValueError, match="pattern"):
        RunRequest(step="refine", input="9.particles; true")


@pytest.mark.parametrize(
    "request_",
    [
        RunRequest(step="select_tilts"),
        RunRequest(step="select_tilts", input="2", parameters={"no_such": 1}),
        RunRequest(step="select_tilts", input="2", links={"poses_from": "1"}),
        RunRequest(step="import_movies", input="2"),
        RunRequest(step="import_movies", parameters={"directory": "/etc"}),
    ],
)
def test_what_no_command_can_be_made_of_is_refused(
    request_: RunRequest, catalogue: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UserInputError):
        command_of(request_, catalogue[request_.step], Roots((tmp_path,)))
