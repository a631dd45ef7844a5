"""Names are matched by patterns, separated by commas, and case counts."""

from __future__ import annotations

import pytest

from cryoloom.contract.item_names import is_named


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("*", True),
        ("TS_01", True),
        ("TS_0?", True),
        ("TS_02, TS_01", True),
        ("TS_02,lamella*", False),
        ("ts_01", False),
        ("", False),
        (" , ", False),
    ],
)
def test_a_name_fits_one_of_the_patterns(patterns, expected):
    assert is_named("TS_01", patterns) is expected
