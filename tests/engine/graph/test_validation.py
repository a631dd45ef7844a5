"""Wrong parameters are named with their value, and with what may have been meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from cryoloom.contract import StepParams
from cryoloom.engine.graph.validation import validated
from cryoloom.errors import UserInputError


class Params(StepParams):
    """Parameters of a step."""

    thickness_angstrom: float = Field(1000.0, gt=0, description="Thickness.")
    method: str = Field("wbp", description="Method.")


class Needy(BaseModel):
    name: str


def test_good_values_are_taken():
    assert validated(Params, {"thickness_angstrom": "1500"}, "reconstruct").thickness_angstrom == 1500.0


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(UserInputError) as raised:
        validated(Params, {"thicknes_angstrom": 1500}, "reconstruct")
    assert raised.value.message == (
        "reconstruct.thicknes_angstrom: there is no such parameter; did you mean thickness_angstrom?"
    )


def test_a_name_that_resembles_none_is_answered_with_all():
    with pytest.raises(UserInputError, match="known: thickness_angstrom, method"):
        validated(Params, {"xyz": 1}, "reconstruct")


def test_every_wrong_value_is_named_at_once():
    with pytest.raises(UserInputError) as raised:
        validated(Params, {"thickness_angstrom": -1, "method": 3}, "reconstruct")
    first, second = raised.value.message.split("; ")
    assert first == "reconstruct.thickness_angstrom: Input should be greater than 0, got -1"
    assert second.startswith("reconstruct.method: Input should be a valid string, got 3")


def test_what_is_missing_is_said():
    with pytest.raises(UserInputError, match=r"^node.name: must be given$"):
        validated(Needy, {}, "node")


class Several(StepParams):
    """Parameters of several values."""

    tilts: tuple[int, ...] = Field((), description="Tilts.")
    shape_yx: tuple[int, int] | None = Field(None, description="Shape.")
    files: tuple[Path, ...] = Field((), description="Files.")


@pytest.mark.parametrize(
    ("given", "tilts"),
    [("38,39", (38, 39)), ("38 39", (38, 39)), ("[38, 39]", (38, 39)), ("(38, 39)", (38, 39)), (38, (38,))],
)
def test_several_values_are_read_as_they_are_typed(given, tilts):
    assert validated(Several, {"tilts": given}, "select_tilts").tilts == tilts


def test_one_file_stands_for_a_list_and_keeps_its_commas():
    assert validated(Several, {"files": "a, b.mrc"}, "classify").files == (Path("a, b.mrc"),)


@pytest.mark.parametrize("given", ["256", "256, 360, 7", "256, x", {"y": 1}, True])
def test_a_wrong_number_of_values_is_refused(given):
    with pytest.raises(UserInputError, match="shape_yx"):
        validated(Several, {"shape_yx": given}, "simulation")
