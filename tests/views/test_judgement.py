"""Lights follow the stated bounds, and the worst one counts."""

import math

import pytest

from cryoloom.model import Microscope, Pose, Tilt, TiltSeries
from cryoloom.views.content import SeriesReport
from cryoloom.views.judgement import SERIES_CRITERIA, criteria_of, judge, overall, session_axis_deg
from makers.reported import reported


def make_tilts(axis_deg):
    """The first 50 angstrom off; the rest only an origin 900 angstrom above the axis."""
    tilts = []
    for i, angle in enumerate(range(-60, 61, 3)):
        x, y = (900.0 * Pose(axis_deg, angle).matrix[:2, 2]).tolist()
        tilts.append(Tilt(i, angle, 0.0, 3.0, pose=Pose(axis_deg, angle, 0.0, (x, y + 50.0 * (i == 0)))))
    return tuple(tilts)


def make_item(axis_deg=85.0, residual=5.0, failure=None):
    series = TiltSeries("a", Microscope(), 2.7, make_tilts(axis_deg))
    results = reported({"align_series": {"residual_mean_angstrom": residual}})
    return SeriesReport("a", series, results=results, failure=failure)


@pytest.mark.parametrize(
    ("residual", "light"),
    [(5.0, "good"), (10.0, "good"), (20.0, "look"), (31.0, "poor"), (math.nan, "unknown")],
)
def test_light_of_a_residual(residual, light):
    item = make_item(residual=residual)
    assert overall(item, judge(item, None)) == light


def test_a_failed_step_outweighs_good_figures():
    item = make_item(failure=("reconstruct", "no"))
    assert overall(item, judge(item, None)) == "failed"
    assert overall(SeriesReport("b", None), judge(SeriesReport("b", None), None)) == "unknown"


def test_axis_is_compared_with_the_session_modulo_half_a_turn():
    items = [make_item(85.0), make_item(85.4), make_item(-95.2), make_item(88.0)]
    assert session_axis_deg(items[:2]) is None
    median = session_axis_deg([items[0], items[1], items[3]])
    assert median == pytest.approx(85.4)
    by_title = {f.criterion.title: f for f in judge(items[2], median)}
    assert by_title["Tilt axis from the session's median"].value == pytest.approx(0.6)
    assert by_title["Largest image shift"].value == pytest.approx(50.0, rel=0.15)
    assert {f.light for f in judge(items[3], median)} == {"good", "look"}


def test_what_is_not_measurable_is_shown_as_such_and_is_no_fault_of_the_series():
    why = {"estimate_ctf": {"fit_resolution_median_angstrom": "no tilt shows Thon rings"}}
    item = SeriesReport("a", None, results=reported(not_measurable=why))
    (finding,) = judge(item, None)
    assert finding.light == "unknown"
    assert finding.text == "not measurable: no tilt shows Thon rings"


def test_criteria_are_those_of_the_series_and_the_figures_with_bounds():
    titles = [criterion.title for criterion in criteria_of([make_item(), make_item()])]
    assert titles == [*(criterion.title for criterion in SERIES_CRITERIA), "Alignment residual, mean"]
    (of_figure,) = [c for c in criteria_of([make_item(residual=7.0)]) if c not in SERIES_CRITERIA]
    assert of_figure.value(make_item(residual=7.0), None) == 7.0
    assert all(criterion.good_to < criterion.look_to for criterion in SERIES_CRITERIA)
