"""A tomogram has the name and the decisions of its series."""

from __future__ import annotations

import numpy as np

from cryoloom.model import Microscope, Tilt, TiltOverride, TiltSeries, Tomogram, series_of
from cryoloom.model.tilt import DecidedBy

SERIES = TiltSeries("TS_07", Microscope(), 1.35, (Tilt(0, 0.0, 0.0, 3.0),))
VOLUME = np.zeros((4, 6, 6), np.float32)


def test_it_is_called_like_its_series():
    assert Tomogram(SERIES, VOLUME, 10.8).name == "TS_07"


def test_halves_are_checked_where_there_are_any():
    assert list(Tomogram(SERIES, VOLUME, 10.8).pixel_sets()[0].pixels) == ["volume"]
    (checked,) = Tomogram(SERIES, VOLUME, 10.8, even=VOLUME, odd=VOLUME).pixel_sets()
    assert (list(checked.pixels), checked.pixel_size_angstrom) == (["volume", "even", "odd"], 10.8)


def test_decisions_change_the_series_and_not_the_volume():
    tomogram = Tomogram(SERIES, VOLUME, 10.8)
    decided = tomogram.with_decisions({"TS_07": [TiltOverride(0, False, "ice", DecidedBy("user", "ada"))]})
    assert decided.series.tilts[0].is_excluded
    assert decided.volume is VOLUME


def test_the_series_of_an_item():
    assert series_of(Tomogram(SERIES, VOLUME, 10.8)) is SERIES
    assert series_of(SERIES) is SERIES
    assert series_of(VOLUME) is None
