"""Parts of plots: numbers as short text, gaps, labels and lines, as Plotly takes them."""

from __future__ import annotations

import json
import math

import numpy as np

from cryoloom.model import Microscope, Pose, Tilt, TiltSeries
from cryoloom.views.plot_parts import (
    Plot,
    axes_layout,
    gaps,
    line,
    rounded,
    scatter,
    threshold,
    tilt_angles,
    tilt_labels,
)

TILTS = (Tilt(1, -3.0, 3.0, 6.0, pose=Pose(85.0, -2.6)), Tilt(0, 0.0, 0.0, 3.0))


def test_numbers_are_short_and_what_is_no_number_is_a_gap():
    assert rounded(np.array([1 / 3, 123456.0, np.nan, -np.inf])) == [0.3333, 123500.0, None, None]
    assert rounded([0.0123456], digits=2) == [0.012]
    stored = gaps([1, None, 2.5])
    assert stored[0] == 1.0
    assert math.isnan(stored[1])
    assert rounded(stored) == [1.0, None, 2.5]


def test_points_carry_their_texts_and_a_curve_is_a_line():
    points = scatter([1, 2], [3, np.nan], "red", ["one", "two"], showlegend=True)
    assert (points["y"], points["text"], points["showlegend"]) == ([3.0, None], ["one", "two"], True)
    assert "%{text}" in points["hovertemplate"]
    assert "%{text}" not in scatter([1], [2], "red")["hovertemplate"]
    curve = line([0, 1], [1, 0], "blue", "FSC")
    assert (curve["mode"], curve["name"], curve["line"]["color"]) == ("lines", "FSC", "blue")


def test_a_plot_is_plain_data():
    layout = axes_layout("tilt (°)", "shift (Å)", shapes=[threshold(0.143)], showlegend=True)
    assert layout["showlegend"] is True
    shape = layout["shapes"][0]
    assert (shape["y0"], shape["y1"], shape["xref"]) == (0.143, 0.143, "paper")
    plot = Plot("FSC", "A curve.", [line([0, 1], [1, 0], "blue")], layout)
    assert json.loads(json.dumps(plot.figure)) == {"data": plot.data, "layout": layout}


def test_tilts_are_labelled_by_acquisition_and_have_their_best_known_angle():
    assert tilt_labels(TILTS)[0] == "acquisition 1, nominal -3.0°"
    series = TiltSeries("TS_01", Microscope(), 2.0, TILTS)
    assert tilt_angles(series) == {1: -2.6, 0: 0.0}
