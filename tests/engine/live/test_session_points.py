"""Series in the order in which they came, and what is usual among them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from cryoloom.engine.live.session_points import (
    FOLLOWED,
    SeriesPoint,
    followed,
    seconds_to_go,
    session_points,
    usual_limits,
)
from cryoloom.store.records import ItemRecord, RunRecord


def _run(number: int, node: str) -> RunRecord:
    return RunRecord(number, node, node, 1, {}, None, "done", datetime(2026, 1, 1, tzinfo=UTC), None, {})


def test_series_come_in_order_of_time_with_the_figures_of_all_steps():
    first, second = _run(1, "align_frames"), _run(2, "align_series")
    history = {
        "TS_2": [
            (
                first,
                ItemRecord(
                    1, "TS_2", "k", "done", figures={"a": 1.0}, started=datetime(2026, 1, 1, 10, tzinfo=UTC)
                ),
            ),
            (second, ItemRecord(2, "TS_2", "k", "failed", figures={"b": 2.0})),
        ],
        "TS_1": [
            (first, ItemRecord(1, "TS_1", "k", "done", started=datetime(2026, 1, 1, 11, tzinfo=UTC))),
        ],
    }
    early, late = session_points(history)
    assert (early.name, early.n_done, early.failed_in, early.node) == (
        "TS_2",
        1,
        "align_series",
        "align_series",
    )
    assert early.figures == {"a": 1.0, "b": 2.0}
    assert (late.name, late.failed_in) == ("TS_1", None)


def test_the_time_to_go_follows_the_pace_of_series_that_are_finished():
    finished = [SeriesPoint(f"TS_{i}", 0.0, "c", 4, None, {}, ended=600.0 * i) for i in range(1, 4)]
    half, new = SeriesPoint("TS_4", 0.0, "b", 2, None, {}), SeriesPoint("TS_5", 0.0, "a", 0, None, {})
    failed = SeriesPoint("TS_6", 0.0, "a", 1, "b", {})
    assert seconds_to_go([*finished, half, new, failed], 4) == pytest.approx(900.0)
    assert seconds_to_go([*finished, failed], 4) == 0.0
    assert seconds_to_go([finished[0], half], 4) is None


def test_one_outlier_does_not_move_what_is_usual(rng: np.random.Generator):
    values = rng.normal(3.0, 0.2, 200)
    low, high = usual_limits([*values, 1e4, None])
    # 4.5 standard deviations of 0.2; the robust deviation of 200 values is off by less than 20 %.
    assert low == pytest.approx(2.1, abs=0.2)
    assert high == pytest.approx(3.9, abs=0.2)
    assert usual_limits([1.0, 2.0, None, 3.0]) is None


def test_values_are_shown_in_the_units_of_people():
    assert followed("defocus_median_angstrom").shown(32_500.0) == "3.25 µm"
    assert followed("thickness_angstrom").shown(1500.0) == "150 nm"
    assert followed("no_such_figure") is None
    assert len({one.figure for one in FOLLOWED}) == len(FOLLOWED)
