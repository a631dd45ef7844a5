"""Calls of outside programs as plain data: options, answers, and what stands behind a name."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from cryoloom.contract.program import Call, Program, arguments_of, option, option_of, setting, text_of

PROGRAM = Program(
    name="TILT",
    suite="IMOD",
    executables=("tilt",),
    purpose="back-projection",
    versions=("4.11",),
    citation="Kremer 1996",
    homepage="https://bio3d.colorado.edu/imod",
)


class Params(BaseModel):
    thickness: float = option("-THICKNESS", 600.0, description="Thickness.")
    offsets: tuple[int, int] = option("-OFFSET", (3, -4), description="Offsets.", kind="comma")
    local: bool = option("-LOCAL", False, description="Local alignment.", kind="flag")
    gpu: int | None = option("-UseGPU", None, description="GPU.")
    radius: float = option("-RADIAL", 20.0, description="In another unit.", kind="computed")
    name: str = setting("x", description="Ours alone.")


def test_options_stand_in_the_order_of_their_declaration():
    assert arguments_of(Params()) == ("-THICKNESS", "600", "-OFFSET", "3,-4")
    assert arguments_of(Params(local=True, gpu=0)) == (
        "-THICKNESS", "600", "-OFFSET", "3,-4", "-LOCAL", "-UseGPU", "0",
    )  # fmt: skip
    assert arguments_of(Params(), only=("offsets",)) == ("-OFFSET", "3,-4")
    assert arguments_of(Params(), but=("offsets",)) == ("-THICKNESS", "600")


def test_a_parameter_says_where_its_value_goes():
    fields = Params.model_fields
    assert option_of(fields["offsets"]) == ("-OFFSET", "comma")
    assert option_of(fields["name"]) == ("", "words")

    class Plain(BaseModel):
        anything: int = 1

    assert option_of(Plain.model_fields["anything"]) == (None, "words")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, ("1",)),
        (2.0, ("2",)),
        (1.35, ("1.35",)),
        (1e-7, ("1e-07",)),
        ((1, 2.5, "a"), ("1", "2.5", "a")),
        (-3, ("-3",)),
    ],
)
def test_values_as_words(value, words):
    assert text_of(value) == words


def test_what_stands_behind_an_option_a_question_and_a_line():
    call = Call(
        program=PROGRAM,
        launcher=("mpirun", "-n", "3"),
        arguments=("-THICKNESS", "600", "-OFFSET", "-4", "7", "-param", "tilt.com", "-LOCAL"),
        answers=(("Pixel size", "1.35"), ("Voltage", "300")),
        files={"tilt.com": 'MODE 2\n"SHIFT": 0 5'},
    )
    assert call.words_of("-n") == ("-n", "3")
    assert call.words_of("-OFFSET") == ("-OFFSET", "-4", "7")  # a negative number is not an option
    assert call.words_of("-param") == ("-param", "tilt.com", 'MODE 2\n"SHIFT": 0 5')
    assert call.words_of("-LOCAL") == ("-LOCAL",)
    assert call.words_of("Voltage") == ("300",)
    assert call.words_of("MODE") == ("MODE 2",)
    assert call.words_of("-none") == ()
    assert call.stdin == "1.35\n300\n"
