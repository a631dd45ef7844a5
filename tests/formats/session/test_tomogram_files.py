"""Names of tomograms and of their halves, as programs write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoloom.formats.session.tomogram_files import find_tomograms


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (  # RELION 5
            ["rec_TS_01.mrc", "rec_TS_01_half1.mrc", "rec_TS_01_half2.mrc"],
            [("TS_01", "rec_TS_01.mrc", "rec_TS_01_half1.mrc", "rec_TS_01_half2.mrc")],
        ),
        (  # Warp
            ["TS_1_10.00Apx.mrc", "even/TS_1_10.00Apx.mrc", "odd/TS_1_10.00Apx.mrc"],
            [("TS_1", "TS_1_10.00Apx.mrc", "even/TS_1_10.00Apx.mrc", "odd/TS_1_10.00Apx.mrc")],
        ),
        (  # AreTomo, halves alone
            ["TS_01_EVN_Vol.mrc", "TS_01_ODD_Vol.mrc"],
            [("TS_01", None, "TS_01_EVN_Vol.mrc", "TS_01_ODD_Vol.mrc")],
        ),
        (["TS_01.rec", "TS_02_full_rec.mrc"], [("TS_01", "TS_01.rec"), ("TS_02", "TS_02_full_rec.mrc")]),
        # Two tomograms of one series keep the names of their files.
        (
            ["TS_01.rec", "TS_01_full_rec.mrc"],
            [("TS_01", "TS_01.rec"), ("TS_01_full_rec", "TS_01_full_rec.mrc")],
        ),
        (
            ["TS_01_5.00Apx.mrc", "TS_01_10.00Apx.mrc", "TS_02_5.00Apx.mrc"],
            [
                ("TS_01_10.00Apx", "TS_01_10.00Apx.mrc"),
                ("TS_01_5.00Apx", "TS_01_5.00Apx.mrc"),
                ("TS_02", "TS_02_5.00Apx.mrc"),
            ],
        ),
        (["a/TS_01.mrc", "b/TS_01.mrc"], [("a_TS_01", "a/TS_01.mrc"), ("b_TS_01", "b/TS_01.mrc")]),
        # A half without the other is a tomogram; a name that is nothing but an added word stays.
        (["TS_01_even.mrc"], [("TS_01", "TS_01_even.mrc")]),
        (["TS_01.mrc", "TS_01_even.mrc"], [("TS_01", "TS_01.mrc"), ("TS_01_even", "TS_01_even.mrc")]),
        (
            ["even.mrc", "tomo.rec", "tomo_003.mrc"],
            [("even", "even.mrc"), ("tomo", "tomo.rec"), ("tomo_003", "tomo_003.mrc")],
        ),
    ],
)  # fmt: skip
def test_names_of_programs(names, expected):
    found = find_tomograms(map(Path, names))
    as_text = [
        tuple(None if part is None else str(part) for part in (one.name, one.whole, one.even, one.odd))
        for one in found
    ]
    assert as_text == [(*one, *[None] * (4 - len(one))) for one in expected]
    assert find_tomograms(map(Path, reversed(names))) == found
