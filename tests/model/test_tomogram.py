"""A tomogram has the name and the decisions of its series."""

from __future__ import annotations

import numpy as np

from cryoloom.model import Average, Microscope, Tilt, TiltOverride, TiltSeries, Tomogram
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
    assert Tomogram(SERIES, VOLUME, 10.8).own_series is SERIES
    assert SERIES.own_series is SERIES
    assert Average("ribosome", VOLUME, 5.0).own_series is None


def test_its_facts_are_those_of_its_series_and_the_voxel():
    facts = Tomogram(SERIES, VOLUME, 10.8).facts()
    assert facts == SERIES.facts() | {"voxel_size_angstrom": 10.8}
    assert (facts["n_tilts"], facts["dose_per_angstrom2"]) == (1.0, 3.0)
