"""Tilts as users type them."""

import pytest

from cryoloom.cli.tilt_numbers import tilt_numbers
from cryoloom.errors import UserInputError


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (None, []),
        (["3", "5"], [3, 5]),
        (["3,5"], [3, 5]),
        (["0-3"], [0, 1, 2, 3]),
        (["38..40", "1,1"], [38, 39, 40, 1]),
        (["07"], [7]),
    ],
)
def test_lists_and_ranges(words, numbers):
    assert tilt_numbers(words) == numbers


@pytest.mark.parametrize("word", ["-5", "5-3", "three", "1.5", "0--5"])
def test_anything_else_is_refused_with_what_is_expected(word):
    with pytest.raises(UserInputError, match="ranges such as 0-5"):
        tilt_numbers([word])
