"""When a watched series is closed."""

from __future__ import annotations

import pytest

from cryoloom.engine.live.watch_options import WatchOptions


@pytest.mark.parametrize(("close", "missing", "used"), [(5.0, 20.0, 20.0), (30.0, 20.0, 30.0)])
def test_a_series_that_lacks_movies_is_not_closed_before_a_whole_one(close, missing, used):
    assert WatchOptions(close_minutes=close, missing_minutes=missing).missing_minutes == used


def test_without_options_the_session_ends_by_hand():
    options = WatchOptions()
    assert (options.tilts, options.idle_minutes, options.stop_file) == (None, None, None)
