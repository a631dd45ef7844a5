"""Options made from a step's parameters, and settings given as text or in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from cryoloom.cli.parameters import (
    as_json,
    as_options,
    default_text,
    parse_settings,
    parsed_options,
    type_text,
)
from cryoloom.contract import StepContext, StepParams, step
from cryoloom.errors import UserInputError
from cryoloom.model import TiltSeries


@pytest.mark.parametrize("text", ["width=2", "smooth.width", "smooth.=2", ".width=2"])
def test_a_setting_must_name_step_and_parameter(text):
    with pytest.raises(UserInputError, match=r"expected step\.parameter=value"):
        parse_settings([text])


def test_settings_are_read_as_yaml():
    settings = parse_settings(["a.x=1.5", "a.y=[1, 2]", "b.z=true", "b.path=/data/a b.mrc", "b.sum=1=2"])
    assert settings.everywhere == {
        "a": {"x": 1.5, "y": [1, 2]},
        "b": {"z": True, "path": "/data/a b.mrc", "sum": "1=2"},
    }


def test_an_unset_value_can_be_given_as_it_is_printed():
    given = parse_settings(
        ["estimate_ctf.a=None", "estimate_ctf.b=null", "estimate_ctf.c=", "reconstruct.d=none"]
    )
    assert given.everywhere == {
        "estimate_ctf": {"a": None, "b": None, "c": None},
        "reconstruct": {"d": "none"},
    }


def test_settings_of_single_series_go_before_those_of_a_file(tmp_path):
    table = tmp_path / "series.yaml"
    table.write_text("TS_01: {align: {method: beads, limit: 3}}\nTS_02: {align: {limit: 4}}\n")
    settings = parse_settings(["TS_01:align.limit=9", "align.method=patches"], table)
    assert settings.everywhere == {"align": {"method": "patches"}}
    assert settings.of_series == {
        "TS_01": {"align": {"method": "beads", "limit": 9}},
        "TS_02": {"align": {"limit": 4}},
    }


@pytest.mark.parametrize("text", ["- a\n- b\n", "TS_01: {align: 3}", "TS_01: [1]", "a: ["])
def test_a_file_that_is_no_table_of_series_is_named(tmp_path, text):
    table = tmp_path / "series.yaml"
    table.write_text(text)
    with pytest.raises(UserInputError, match=r"series\.yaml (is not a table of series|cannot be read)"):
        parse_settings([], table)
    with pytest.raises(UserInputError, match="cannot be read"):
        parse_settings([], tmp_path / "none.yaml")


class WeaveParams(StepParams):
    """Parameters of a made step."""

    width_angstrom: float = Field(5.0, gt=0, le=40, description="Width of a thread.")
    pattern: Literal["plain", "twill"] = Field("plain", description="Kind of weave.")
    colours: tuple[int, ...] = Field((1, 2), description="Numbers of colours.")
    loom: str | None = Field(None, description="Name of the loom.")
    name: str = Field(description="Name of the cloth.")


@step("weave", per="tilt_series", needs=TiltSeries, gives=TiltSeries, bytes_needed=lambda item, params: 1)
def weave(series: TiltSeries, params: WeaveParams, context: StepContext) -> TiltSeries:
    """Weave."""
    return series


def test_a_parameter_is_an_option_with_its_words_bounds_and_choices():
    options = {option.name: option for option in as_options(weave.declaration)}
    assert list(options) == list(WeaveParams.model_fields)
    width = options["width_angstrom"].default
    assert width.param_decls == ("--width-angstrom",)
    assert width.help == "Width of a thread. Default: 5.0. Allowed: > 0, <= 40."
    assert options["pattern"].default.help == "Kind of weave. One of: plain, twill. Default: plain."
    assert options["pattern"].default.metavar == "WORD"
    assert options["name"].default.help == "Name of the cloth."


def test_types_and_defaults_are_words():
    fields = WeaveParams.model_fields
    assert [type_text(fields[name]) for name in ("width_angstrom", "name", "loom")] == [
        "number", "text", "text",
    ]  # fmt: skip
    assert [default_text(fields[name]) for name in fields] == [
        "5.0",
        "plain",
        "[1, 2]",
        "not set",
        "required",
    ]


def test_options_that_are_not_given_are_left_to_the_step():
    given = parsed_options({"width_angstrom": "7.5", "pattern": None, "colours": "[3, 4]", "name": "a: b: c"})
    assert given == {"width_angstrom": 7.5, "colours": [3, 4], "name": "a: b: c"}
    assert json.loads(as_json({"path": Path("/a"), "n": 1})) == {"path": "/a", "n": 1}
