"""The resolution to which a step must be exact."""

from __future__ import annotations

import pytest

from cryoloom.algorithms.series.wanted_resolution import wanted_resolution
from cryoloom.errors import DataUnfitError


def wanted(value):
    return wanted_resolution(
        value, 25.0, parameter="ctf_resolution_angstrom", pixel_size_angstrom=5.0, series="TS_01"
    )


def test_the_users_value_or_the_usual_one():
    assert wanted(None) == 25.0
    assert wanted(10.0) == 10.0


def test_what_the_pixels_do_not_hold_is_refused():
    with pytest.raises(DataUnfitError, match=r"finer than 10.00 A, but ctf_resolution_angstrom is 8;"):
        wanted(8.0)
