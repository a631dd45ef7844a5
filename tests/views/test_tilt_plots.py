"""Plots of the images: brightness, shift, blur, gain and motion, each only where it was measured."""

from __future__ import annotations

import pytest

from cryoloom.contract.figures import Record
from cryoloom.model import Exclusion
from cryoloom.views.content import SeriesReport
from cryoloom.views.plot_parts import BLUE, GREY, RED
from cryoloom.views.tilt_plots import draw_gain_trials, draw_tilt_quality, motion_plots
from makers.made_series import make_series

RECORD = Record("tilt_quality", "As measured.", shows="tilt_quality")


def report(changes=None):
    series = make_series(n_tilts=5)
    return SeriesReport("TS_01", series.with_tilts(changes or {}))


def quality(**columns):
    return {"acquisition_index": [0, 1, 2, 3, 4], "mean_counts": [10.0, 9.0, 9.5, 8.0, 7.5]} | columns


def test_brightness_over_the_tilt_with_excluded_tilts_in_red():
    item = report({3: {"exclusion": Exclusion.by_step("dark", "select_tilts")}})
    (plot,) = draw_tilt_quality(item, RECORD, quality())
    used, excluded = plot.data
    assert (used["name"], used["marker"]["color"]) == ("used", BLUE)
    assert (excluded["name"], excluded["marker"]["color"], excluded["y"]) == ("excluded", RED, [8.0])
    angle = next(t.nominal_tilt_deg for t in item.series.tilts if t.acquisition_index == 3)
    assert excluded["x"] == [angle]


def test_shift_and_blur_appear_where_they_were_measured():
    titles = lambda data: [plot.title for plot in draw_tilt_quality(report(), RECORD, data)]  # noqa: E731
    assert titles(quality(shift_fraction=[None] * 5, smear_angstrom=[0.0] * 5)) == ["Brightness"]
    both = quality(shift_fraction=[0.0, 0.1, None, 0.2, 0.3], smear_angstrom=[0.0, 40.0, 0.0, 0.0, 0.0])
    assert titles(both) == ["Brightness", "Shift of the images", "Blur of the images"]
    shift = draw_tilt_quality(report(), RECORD, both)[1].data[0]
    assert sorted(shift["y"]) == [0.0, 10.0, 20.0, 30.0]  # percent; the missing one is left out


@pytest.mark.parametrize("data", [None, [], {}, {"mean_counts": []}])
def test_nothing_measured_is_no_plot(data):
    assert draw_tilt_quality(report(), RECORD, data) == ()


def test_the_orientation_of_the_gain_in_use_is_dark_and_the_best_is_on_top():
    trials = [
        {"quarter_turns": 0, "flip": "none", "variation": 0.5},
        {"quarter_turns": 1, "flip": "upside_down", "variation": 0.1},
    ]
    data = {
        "trials": trials,
        "quarter_turns": 1,
        "flip": "upside_down",
        "by": "the movies",
        "variation_without_gain": 0.3,
    }
    (plot,) = draw_gain_trials(report(), RECORD, data)
    (bars,) = plot.data
    assert bars["y"] == ["turned by 0°", "without gain reference", "turned by 90°, flipped upside down"]
    assert bars["x"] == [0.5, 0.3, 0.1]  # the last bar is drawn on top
    assert bars["marker"]["color"] == [GREY, GREY, BLUE]
    assert "In use (blue): turned by 90°, flipped upside down, by the movies." in plot.caption
    assert draw_gain_trials(report(), RECORD, {"trials": []}) == ()


def test_the_length_of_a_path_and_its_trace_from_the_first_frame():
    shifts = ((1.0, 2.0), (1.0, 5.0), (5.0, 5.0))  # y, x: a path of 3 and 4 A
    item = report({0: {"frame_shifts_yx_angstrom": shifts}, 4: {"frame_shifts_yx_angstrom": shifts}})
    total, paths = motion_plots(item)
    assert total.data[0]["y"] == [7.0, 7.0]
    assert len(paths.data) == 2
    assert (paths.data[0]["x"], paths.data[0]["y"]) == ([0.0, 3.0, 3.0], [0.0, 0.0, 4.0])
    first, last = (trace["line"]["color"] for trace in sorted(paths.data, key=lambda t: t["line"]["color"]))
    assert first != last  # coloured by the order of acquisition


def test_no_frames_no_motion():
    assert motion_plots(report()) == ()
    assert motion_plots(report({0: {"frame_shifts_yx_angstrom": ((0.0, 0.0),)}})) == ()
