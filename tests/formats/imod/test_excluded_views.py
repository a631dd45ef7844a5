"""Lists of views as the tutorials write them."""

from __future__ import annotations

import pytest

from cryoloom.errors import UserInputError
from cryoloom.formats.imod.excluded_views import read_excluded_views


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TS_01 1\nTS_03 1\n", {"TS_01": (1,), "TS_03": (1,)}),  # seed 001
        ("\ufeffTS_01\t1,38-41\r\n\r\n# dark\n", {"TS_01": (1, 38, 39, 40, 41)}),
        ("TS_01 3 1, 2  # beam blanked\nTS_01 5\n", {"TS_01": (1, 2, 3, 5)}),
        ("", {}),
    ],
)
def test_reads_views_and_ranges(tmp_path, text, expected):
    path = tmp_path / "views.txt"
    path.write_bytes(text.encode())
    assert read_excluded_views(path) == expected


@pytest.mark.parametrize(
    "line", ["TS_01", "TS_01 0", "TS_01 one", "TS_01 5-2", "TS_01 -1", "TS_01 1.5", "TS_01 138139"]
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, line):
    path = tmp_path / "views.txt"
    path.write_text(f"TS_00 1\n{line}\n")
    with pytest.raises(UserInputError, match="line 2: got"):
        read_excluded_views(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserInputError, match="cannot be read"):
        read_excluded_views(tmp_path / "absent.txt")
