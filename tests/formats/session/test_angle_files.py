"""Angles and doses beside a stack, one line a section."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.angle_files import read_exposures, read_tilt_angles, read_tilt_doses


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "TS_01.rawtlt"
        path.write_text(text)
        return path

    return write


def test_angles_with_comments_blanks_and_blank_lines(written):
    np.testing.assert_array_equal(
        read_tilt_angles(written("# tilt\n-60.0\n\n  0.5 \n60 # last\n")), [-60, 0.5, 60]
    )


def test_a_second_column_is_the_dose(written):
    path = written("-3 6\n0 0\n3 3\n")
    np.testing.assert_array_equal(read_tilt_angles(path), [-3, 0, 3])
    np.testing.assert_array_equal(read_tilt_doses(path), [[6, 3], [0, 3], [3, 3]])


def test_doses_that_do_not_begin_at_zero_are_those_after_the_image(written):
    np.testing.assert_array_equal(read_tilt_doses(written("-3 9\n0 3\n3 6\n"))[:, 0], [6, 0, 3])


def test_doses_that_are_all_alike_or_absent_give_no_order(written):
    assert read_tilt_doses(written("-3 3\n0 3\n3 3\n")) is None
    assert read_tilt_doses(written("-3\n0\n3\n")) is None


def test_exposures_have_one_or_two_columns(written):
    np.testing.assert_array_equal(read_exposures(written("0 3\n3 3\n")), [[0, 3], [3, 3]])
    assert read_exposures(written("0\n3\n")).shape == (2, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; expected one tilt angle a line"),
        ("-60\nabc\n", "line 2 of TS_01.rawtlt is 'abc'"),
        ("-60\n-57 3\n", "line 2 of TS_01.rawtlt"),
        ("-60\n-570\n", "the tilt angle in line 2 of TS_01.rawtlt is -570; expected -90 to 90 degrees"),
        ("nan\n", "line 1"),
    ],
)
def test_what_is_no_list_of_angles_is_refused_with_its_line(written, text, message):
    with pytest.raises(DataUnfitError, match=message):
        read_tilt_angles(written(text))


def test_an_impossible_dose_is_refused(written):
    with pytest.raises(DataUnfitError, match=r"the dose in line 2 of TS_01.rawtlt is -1"):
        read_exposures(written("0 3\n3 -1\n"))
