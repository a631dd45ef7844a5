"""Series of a session that is watched are closed by name."""

from __future__ import annotations

import pytest

from cryoloom.errors import UserInputError


def test_a_series_that_is_not_watched_is_refused(cryoloom):
    with pytest.raises(UserInputError, match="no series 'TS_01' is being watched; there are none yet"):
        cryoloom("close", "TS_01", "TS_02")


def test_none_open_and_none_named_is_refused(cryoloom):
    with pytest.raises(UserInputError, match="no series was named to close"):
        cryoloom("close", "--all")
