"""Series, number, tilt and time in the names that acquisition programs give to movies."""

from __future__ import annotations

from datetime import datetime

import pytest

from cryoloom.formats.session.movie_names import MovieName, read_movie_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TS_01_000_0.0.tif", MovieName("TS_01", 0, 0.0)),
        ("TS_01_012_-36.0.tif", MovieName("TS_01", 12, -36.0)),
        (
            "s_mmm_00993_33.0_Oct08_07.39.05.tif",
            MovieName("s_mmm", 993, 33.0, datetime(2000, 10, 8, 7, 39, 5)),
        ),
        (
            "Position_10_001_-20.00_20230324_121311_EER.eer",
            MovieName("Position_10", 1, -20.0, datetime(2023, 3, 24, 12, 13, 11)),
        ),
        ("lamella_003_45.mrc", MovieName("lamella", 3, 45.0)),
        ("017_01.mrc", MovieName(None, 1)),
        ("gain.mrc", MovieName()),
    ],
)
def test_parts_of_names(name, expected):
    assert read_movie_name(name) == expected


def test_a_number_beyond_90_is_no_tilt():
    assert read_movie_name("grid_12_345.tif").tilt_deg is None


def test_a_date_that_no_calendar_has_is_no_time():
    assert read_movie_name("TS_01_001_3.0_20231399_999999.eer").acquired_at is None
