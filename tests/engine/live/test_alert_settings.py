"""Rules and channels of alerts in a project."""

from __future__ import annotations

import stat

import pytest

from cryoloom.engine.live.alert_settings import (
    AlertSettings,
    Limit,
    alert_settings,
    changed_settings,
    keep_alert_settings,
)
from cryoloom.errors import UserInputError


def test_they_are_kept_for_their_owner_alone(tmp_path):
    assert alert_settings(tmp_path) == AlertSettings()
    settings = changed_settings(
        AlertSettings(),
        limits={"motion_median_angstrom": {"high": 8.0}},
        command=("mail", "-s", "microscope", "anna"),
        web_hook="https://hooks.example.org/secret",
    )
    keep_alert_settings(tmp_path, settings)
    assert alert_settings(tmp_path) == settings
    assert settings.channels == ("command", "web hook")
    assert stat.S_IMODE((tmp_path / "alerts.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"limits": {"no_figure": {"low": 1.0}}}, "'no_figure' is not followed; expected one of defocus"),
        (
            {"limits": {"tilt_axis_deg": {"low": 2.0, "high": 1.0}}},
            "lowest value 2 is not below the highest 1",
        ),
        ({"limits": {"tilt_axis_deg": {}}}, "needs a lowest or a highest value"),
        ({"web_hook": "file:///etc/passwd"}, "is not an address of a web hook"),
        ({"at_least": 6}, "at least 6 of the last 5 series can never be met"),
    ],
)
def test_what_cannot_be_right_is_refused(changes, said):
    with pytest.raises(UserInputError, match=said):
        changed_settings(AlertSettings(), **changes)


def test_a_file_damaged_by_hand_is_one_sentence(tmp_path):
    (tmp_path / "alerts.json").write_text('{"at_least": "many"}')
    with pytest.raises(UserInputError, match=r"alerts\.json cannot be read as settings of alerts"):
        alert_settings(tmp_path)


def test_a_value_on_the_limit_is_not_beyond():
    limit = Limit(low=1.0, high=2.0)
    assert [limit.is_beyond(v) for v in (0.9, 1.0, 2.0, 2.1)] == [True, False, False, True]
    assert not Limit(high=2.0).is_beyond(-1e9)
