"""Options made from a step's parameters, and settings given as text or in a file."""

from __future__ import annotations

import pytest

from cryoloom.cli.parameters import parse_settings
from cryoloom.errors import UserInputError


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
