"""Two ways to the tilt axis agree with the truth."""

import numpy as np
import pytest

from cryoloom.algorithms.alignment.axis_search import (
    AxisScores,
    agreed_axis,
    find_axis,
    find_common_line,
    search_circle,
)
from cryoloom.algorithms.alignment.coarse_alignment import CoarseAlignment
from cryoloom.algorithms.series.tilt_images import load_tilt_images, shrink_images
from makers.blob_series import AXIS, PIXEL, TILTS, make_series

ALL = np.ones(len(TILTS), bool)


def test_a_half_turn_has_no_ends():
    axes = np.arange(-90.0, 90.0, 10.0)
    scores = np.cos(2 * np.deg2rad(axes - 88.0))
    best = AxisScores(axes, scores[:, None]).best_deg
    assert (best - 88.0 + 90) % 180 - 90 == pytest.approx(0.0, abs=0.3)


def test_significance_counts_standard_errors(rng):
    noise = rng.normal(0, 0.01, 40)
    scores = AxisScores(np.array([0.0, 10.0]), np.stack([0.3 + noise, 0.2 + rng.normal(0, 0.01, 40)]))
    assert scores.significance(0, 1) > 20
    assert scores.significance(1, 0) < -20


def test_the_circle_shows_the_axis(rng):
    series, _ = make_series(rng, n_beads=0)
    images = shrink_images(load_tilt_images(series.stack.images, PIXEL, PIXEL), 96)
    circle = search_circle(images, TILTS, ALL)
    assert abs((circle.best_deg - AXIS + 90) % 180 - 90) < 6.0  # half a step


def test_both_fine_searches_find_the_axis(rng):
    series, truth = make_series(rng, depth_angstrom=150.0)  # parallax of thick specimens biases pairs
    images = load_tilt_images(series.stack.images, PIXEL, PIXEL)
    candidates = AXIS + 1.3 + np.arange(-6.0, 6.1, 2.0)
    coarse = CoarseAlignment(AXIS + 1.3, truth.shift_xy_angstrom, np.ones(len(TILTS)))
    squeezed = find_axis(shrink_images(images, 128), TILTS, coarse, ALL, candidates, neighbours=(2,))
    line = find_common_line(images, TILTS, truth.shift_xy_angstrom, ALL, candidates)
    assert squeezed.best_deg == pytest.approx(AXIS, abs=2.0)
    assert line.best_deg == pytest.approx(AXIS, abs=1.5)


@pytest.mark.parametrize(
    ("nominal_deg", "line_deg", "agreed_deg"),
    [
        (85.0, 84.4, 84.7),
        (85.0, 83.0, None),
        (None, 84.0, None),
        (-95.0, 84.4, 84.7),  # the opposite direction is the same axis
        (89.8, -89.8, -90.0),
    ],
)
def test_metadata_and_common_line_agree_on_an_axis(nominal_deg, line_deg, agreed_deg):
    assert agreed_axis(nominal_deg, line_deg) == (None if agreed_deg is None else pytest.approx(agreed_deg))
