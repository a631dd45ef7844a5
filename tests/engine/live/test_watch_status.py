"""State of the series of a session, for other processes."""

from __future__ import annotations

from cryoloom.engine.live.watch_status import SeriesStatus, keep_status, series_being_watched


def test_the_last_state_is_read(tmp_path):
    assert series_being_watched(tmp_path) == []
    first, second = SeriesStatus("TS_01", "open", 12, 41), SeriesStatus("TS_02", "failed", 3, 41, "no mdoc")
    keep_status(tmp_path, [first])
    keep_status(tmp_path, [first, second])
    assert series_being_watched(tmp_path) == [first, second]
    assert [path.name for path in tmp_path.iterdir()] == ["watch.json"]
