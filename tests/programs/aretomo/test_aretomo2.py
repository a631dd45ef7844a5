"""What AreTomo is given of a series: its angles in the order of the sections, and the tilt axis."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import Sourced
from cryoloom.programs.aretomo.aretomo2 import angle_file, axis_arguments, even_px
from makers.made_series import make_series


def test_a_line_for_each_section_with_tilt_order_and_dose():
    rows = [line.split() for line in angle_file(make_series(n_tilts=5)).splitlines()]
    assert [float(row[0]) for row in rows] == [-6.0, -3.0, 0.0, 3.0, 6.0]
    assert [int(row[1]) for row in rows] == [4, 2, 1, 3, 5]  # dose-symmetric; AreTomo counts from 1
    assert {float(row[2]) for row in rows} == {3.0}


def test_the_axis_is_that_of_the_series_or_the_one_given():
    series = replace(make_series(), tilt_axis_deg=Sourced.from_told(85.5, "mdoc"))
    assert axis_arguments(series, None, True) == ["-TiltAxis", "85.5", "1"]
    assert axis_arguments(series, None, False) == ["-TiltAxis", "85.5", "-1"]
    assert axis_arguments(series, -95.0, True) == ["-TiltAxis", "-95", "1"]


def test_an_unknown_axis_is_searched_and_cannot_be_held():
    series = make_series()
    assert axis_arguments(series, None, True) == []
    with pytest.raises(DataUnfitError, match="the tilt axis of TS_01 is unknown and refine_axis is off"):
        axis_arguments(series, None, False)


@pytest.mark.parametrize(
    ("length", "pixel", "n"), [(100.0, 2.0, 50), (101.0, 2.0, 50), (102.1, 2.0, 52), (0.1, 2.0, 2)]
)
def test_lengths_become_even_numbers_of_pixels(length, pixel, n):
    assert even_px(length, pixel) == n
