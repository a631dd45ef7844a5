"""State of the series of a session, for other processes."""

from __future__ import annotations

import json

from cryoloom.engine.live.watch_status import (
    Arrivals,
    SeriesStatus,
    arrivals_of,
    keep_status,
    series_being_watched,
)


def test_the_last_state_is_read(tmp_path):
    assert series_being_watched(tmp_path) == []
    assert arrivals_of(tmp_path) == Arrivals()
    first, second = SeriesStatus("TS_01", "open", 12, 41), SeriesStatus("TS_02", "failed", 3, 41, "no mdoc")
    keep_status(tmp_path, [first])
    keep_status(tmp_path, [first, second], Arrivals(((1000.5, 300), (1001.0, 200))))
    assert series_being_watched(tmp_path) == [first, second]
    assert arrivals_of(tmp_path).last() == 1001.0
    assert [path.name for path in tmp_path.iterdir()] == ["watch.json"]


def test_a_file_from_before_arrivals_were_kept_is_read(tmp_path):
    one = {"name": "TS_01", "state": "open", "n_whole": 3, "n_told": 41, "note": ""}
    (tmp_path / "watch.json").write_text(json.dumps([one]))
    assert series_being_watched(tmp_path) == [SeriesStatus("TS_01", "open", 3, 41)]  # n_told: its former name
    assert arrivals_of(tmp_path) == Arrivals()


def test_the_rate_is_that_of_the_last_ten_minutes():
    every_ten_seconds = Arrivals(tuple((10.0 * i, 500) for i in range(100)))
    assert every_ten_seconds.bytes_per_second(1000.0) == 50.0
    assert every_ten_seconds.bytes_per_second(9000.0) == 0.0  # nothing comes any more
    assert Arrivals(((10.0, 500),)).bytes_per_second(20.0) is None
    assert Arrivals().bytes_per_second(20.0) is None
