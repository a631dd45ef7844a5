"""The list of steps, one step whole, and the reference pages."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cryoloom.cli.main import app
from cryoloom.contract import all_steps, find_step
from cryoloom.errors import UserInputError


def said(*arguments):
    result = CliRunner().invoke(app, ["steps", *arguments], env={"COLUMNS": "200"}, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_native_steps_and_programs_are_listed_apart():
    native, programs = (
        {line.split()[0] for line in said(*options).splitlines()} for options in ([], ["--programs"])
    )
    steps = all_steps()
    assert {name for name, step in steps.items() if step.programs} <= programs
    assert {name for name, step in steps.items() if not step.programs} <= native
    assert not native & {name for name, step in steps.items() if step.programs}


def test_one_step_is_shown_with_every_parameter():
    printed = said("align_series")
    step = find_step("align_series")
    assert step.description.split(".")[0] in " ".join(printed.split())
    assert all(f"{parameter} = " in printed for parameter in step.params.model_fields)


def test_the_reference_has_a_heading_for_every_step():
    page = said("--markdown")
    assert all(
        f"`{name}`" in page or f"# {name}" in page for name, step in all_steps().items() if not step.programs
    )


def test_an_unknown_step_is_answered_with_the_nearest():
    with pytest.raises(UserInputError, match="did you mean align_series"):
        said("align_serie")
