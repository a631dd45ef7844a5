"""Tilts of two sets of one series: by acquisition index, and refused where they cannot be the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.algorithms.series.tilt_matching import corresponding_tilts, evidence_of_tilts
from cryoloom.errors import DataUnfitError
from cryoloom.model import Microscope, Tilt, TiltSeries

TILTS = (Tilt(2, -3.0, 6.0, 9.0, section=0), Tilt(0, 0.0, 0.0, 3.0, section=1), Tilt(1, 3.0, 3.0, 6.0))
SERIES = TiltSeries("TS_01", Microscope(), 1.35, TILTS)


def test_tilts_are_found_by_index_in_any_order():
    other = replace(SERIES, tilts=TILTS[::-1])
    found = corresponding_tilts(SERIES, other, "poses_from")
    assert {index: tilt.nominal_tilt_deg for index, tilt in found.items()} == {2: -3.0, 0: 0.0, 1: 3.0}


def test_angles_may_differ_by_the_rounding_of_files():
    other = replace(SERIES, tilts=(*TILTS[:2], replace(TILTS[2], nominal_tilt_deg=3.4)))
    assert len(corresponding_tilts(SERIES, other, "poses_from")) == 3


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(SERIES, name="TS_02"), "poses_from brings the series TS_02, expected TS_01"),
        (replace(SERIES, tilts=TILTS[:2]), r"does not have the tilts of acquisition index \[1\] of TS_01"),
        (
            replace(SERIES, tilts=(*TILTS[:2], replace(TILTS[2], nominal_tilt_deg=6.0))),
            "has the tilt of acquisition index 1 of TS_01 at 6.00 deg, expected 3.00",
        ),
    ],
)
def test_sets_that_cannot_be_of_the_same_tilts_are_refused(other, message):
    with pytest.raises(DataUnfitError, match=message):
        corresponding_tilts(SERIES, other, "poses_from")


def test_evidence_is_in_the_order_of_the_tilts():
    evidence = evidence_of_tilts(SERIES)
    fields = [getattr(evidence, name) for name in evidence.__dataclass_fields__][:3]
    for found, expected in zip(fields, ([-3, 0, 3], [6, 0, 3], [0, 1, -1]), strict=True):
        np.testing.assert_array_equal(found, expected)
