"""Sizes and times as they are typed and printed."""

import pytest

from cryoloom.cli.amounts import duration_text, parse_size, size_text
from cryoloom.errors import UserInputError


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("500GB", 500 * 10**9), ("1.5 TB", 15 * 10**11), ("200GiB", 200 * 2**30), ("7m", 7 * 10**6), ("12", 12)],
)
def test_sizes_are_read(text, n_bytes):
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "much", "-3GB", "3 iB", "1e9"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UserInputError, match="not a size"):
        parse_size(text)


def test_sizes_and_times_are_printed():
    assert [size_text(n) for n in (3 << 20, 5 << 30)] == ["3 MiB", "5.0 GiB"]
    assert [duration_text(s) for s in (5, 600, 7200)] == ["5 s", "10 min", "2.0 h"]
