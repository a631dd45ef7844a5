"""Numbers are written with the digits that matter and their unit."""

import math

import pytest

from cryoloom.views.numbers import number_text, unit_symbol, with_unit


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "3"),
        (40512.3, "40\u202f512"),
        (0.01234, "0.0123"),
        (-4.25, "\u22124.25"),
        (123.456, "123.5"),
        (math.nan, "not a number"),
    ],
)
def test_numbers_read_well(value, text):
    assert number_text(value) == text


def test_units_are_symbols_where_they_have_one():
    assert with_unit(12.0, "angstrom") == "12\u202fÅ"
    assert with_unit(12.5, "deg") == "12.5°"
    assert with_unit(3.0, "") == "3"
    assert with_unit(3.0, "tilts") == "3\u202ftilts"
    assert unit_symbol("standard errors") == "standard errors"
