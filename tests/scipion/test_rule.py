"""Conversions of a value, and parameters as a table."""

from __future__ import annotations

import pytest

from cryoloom.scipion.rule import (
    NotTranslatedError,
    Surroundings,
    first,
    if_positive,
    one_of,
    only_if,
    p,
    pixels,
    point_group,
    same,
    times,
    views_of_file,
)

NOTHING = Surroundings({}, None)


def test_lengths():
    assert times(10.0)("1.5", NOTHING) == 15.0
    assert pixels("300 200", Surroundings({}, 1.35)) == 405.0
    assert pixels(3, Surroundings({}, 1 / 3)) == 1.0
    with pytest.raises(NotTranslatedError, match="300 pixels"):
        pixels(300, NOTHING)


@pytest.mark.parametrize("number", [-1, 1, 3])
def test_a_choice_is_one_that_has_a_counterpart(number):
    convert = one_of("fixed", None, "one")
    assert (convert(0, NOTHING), convert("2", NOTHING)) == ("fixed", "one")
    with pytest.raises(NotTranslatedError, match=f"choice {number} has no counterpart"):
        convert(number, NOTHING)


def test_a_value_that_another_one_requests():
    convert = only_if("useOwn", True, times(2.0))
    assert convert(3, Surroundings({"useOwn": True}, None)) == 6.0
    for values in ({"useOwn": False}, {}):
        with pytest.raises(NotTranslatedError, match="useOwn does not request it"):
            convert(3, Surroundings(values, None))


def test_values_that_request_nothing_and_symmetries_in_small_letters():
    assert if_positive("2.5", NOTHING) == "2.5"
    for value in (0, -1, "-1.0"):
        with pytest.raises(NotTranslatedError, match="requests nothing"):
            if_positive(value, NOTHING)
    assert point_group(" c6", NOTHING) == "C6"


def test_the_first_of_a_pair():
    assert first(same)("0.33 0.5", NOTHING) == 0.33
    assert first(times(3.0))(2, NOTHING) == 6.0


def test_parameters_by_their_name():
    table = p(a="ours", b=("other", pixels))
    assert table["a"] == ("ours", same)
    assert table["b"] == ("other", pixels)


def test_views_are_read_from_their_file(tmp_path):
    path = tmp_path / "excluded.txt"
    path.write_text("TS_01 1,38-41\nTS_02 3\n")
    assert views_of_file(str(path), NOTHING) == {"TS_01": [1, 38, 39, 40, 41], "TS_02": [3]}
    with pytest.raises(NotTranslatedError, match="none"):
        views_of_file(tmp_path / "none.txt", NOTHING)
