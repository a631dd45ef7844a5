"""Decimal commas are read where they are certain, and refused where they may part numbers."""

import pytest

from cryoloom.formats.session.numbers import AmbiguousNumberError, parse_numbers


@pytest.mark.parametrize(
    ("text", "n_expected", "numbers"),
    [
        ("1.35", 1, (1.35,)),
        ("1,35", 1, (1.35,)),
        ("-39,98", None, None),  # an angle, or an angle and a dose
        ("80 64", 2, (80.0, 64.0)),
        ("80,64", 2, (80.0, 64.0)),
        ("80, 64", 2, (80.0, 64.0)),
        ("1,5 3,2 4,7", 3, (1.5, 3.2, 4.7)),
        ("0,3 8", None, (0.3, 8.0)),
        ("-60.0,3.2", None, (-60.0, 3.2)),
        ("9.37679e-005", 1, (9.37679e-5,)),
        ("1,2e3", 1, (1200.0,)),
        ("1_000", 1, ()),  # Python reads it, no microscope writes it
        ("1,234.5", 1, ()),
        ("abc", 1, ()),
        ("", 1, ()),
    ],
)
def test_numbers(text, n_expected, numbers):
    if numbers is None:
        with pytest.raises(AmbiguousNumberError, match="write decimal points"):
            parse_numbers(text, n_expected)
    else:
        assert parse_numbers(text, n_expected) == numbers
