"""Closing series that are being watched, at the request of a user."""

from __future__ import annotations

import pytest

from cryoloom.engine.live.closing import ask_to_close, asked_to_close, closing_done
from cryoloom.engine.live.watch_status import SeriesStatus, keep_status
from cryoloom.errors import UserInputError


@pytest.fixture
def project(tmp_path):
    keep_status(tmp_path, [SeriesStatus(name, "open", 3, 41) for name in ("TS_02", "TS_01")])
    return tmp_path


def test_requests_stay_until_they_are_done(project):
    assert asked_to_close(project) == set()
    ask_to_close(project, ["TS_01", "TS_02"])
    assert asked_to_close(project) == {"TS_01", "TS_02"}
    closing_done(project, "TS_01")
    closing_done(project, "TS_01")
    assert asked_to_close(project) == {"TS_02"}


def test_a_series_that_is_not_watched_closes_none(project):
    with pytest.raises(UserInputError, match="no series 'TS_09' is being watched; there are TS_01, TS_02"):
        ask_to_close(project, ["TS_01", "TS_09"])
    assert asked_to_close(project) == set()


def test_where_nothing_is_watched(tmp_path):
    with pytest.raises(UserInputError, match="there are none yet"):
        ask_to_close(tmp_path, ["TS_01"])
