"""A tilt with its exclusion: users override steps, and a single frame has no halves."""

from __future__ import annotations

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import DecidedBy, Exclusion, Tilt, TiltOverride

USER = DecidedBy("user", "ada")


def test_a_user_excludes_and_keeps_a_tilt():
    tilt = Tilt(3, 12.0, 9.0, 12.0, exclusion=Exclusion.by_step("dark", "select", 0.2))
    assert tilt.is_excluded
    kept = tilt.overridden(TiltOverride(3, True, "it is fine", USER))
    assert (kept.is_excluded, kept.kept_by) == (False, USER)
    again = kept.overridden(TiltOverride(3, False, "ice", USER))
    assert (again.exclusion, again.kept_by) == (Exclusion("ice", USER), None)


def test_only_users_are_persons():
    assert Exclusion.by_user("ice", "ada").by.is_user
    assert not Exclusion.by_step("dark", "select").by.is_user


def test_dose_and_halves():
    tilt = Tilt(0, 0.0, 6.0, 9.0)
    assert tilt.dose_per_angstrom2 == 3.0
    assert tilt.has_halves
    assert not Tilt(0, 0.0, 0.0, 3.0, frame_shifts_yx_angstrom=((0.0, 0.0),)).has_halves


@pytest.mark.parametrize("tilt_deg", [float("nan"), 1e6])
def test_an_impossible_tilt_is_refused(tilt_deg):
    with pytest.raises(DataUnfitError):
        Tilt(0, tilt_deg, 0.0, 3.0)
