"""Figures over a session: one point a series, in the order the series were acquired."""

from datetime import UTC, datetime

from cryoloom.model import Microscope, Pose, Tilt, TiltSeries
from cryoloom.views.content import SeriesReport
from cryoloom.views.session_plots import in_order_of_acquisition, session_plots
from makers.reported import reported


def make_item(name, hour, residual, axis=85.0):
    at = None if hour is None else datetime(2026, 1, 2, hour, tzinfo=UTC)
    tilts = tuple(Tilt(i, 3.0 * i, 0.0, 3.0, acquired_at=at, pose=Pose(axis, 3.0 * i)) for i in range(3))
    figures = {} if residual is None else {"align_series": {"residual_mean_angstrom": residual}}
    series = TiltSeries(name, Microscope(), 2.0, tilts)
    return SeriesReport(name, series, results=reported(figures))


def test_series_come_in_the_order_of_acquisition():
    items = [make_item("a", 12, 1.0), make_item("b", None, 1.0), make_item("c", 9, 1.0)]
    assert [item.name for item in in_order_of_acquisition(items)] == ["c", "a", "b"]


def test_a_figure_is_a_point_a_series_coloured_by_its_bounds():
    items = [
        make_item("a", 9, 2.0),
        make_item("b", 10, None),
        make_item("c", 11, 20.0),
        make_item("d", 12, 50.0),
    ]
    plots = {plot.title: plot for plot in session_plots(items)}
    (points,) = plots["Alignment residual, mean"].data
    assert points["x"] == [1.0, 3.0, 4.0]  # the second has no residual: a gap, not a shift
    assert points["y"] == [2.0, 20.0, 50.0]
    assert points["text"] == ["a", "c", "d"]
    assert len(set(points["marker"]["color"])) == 3
    assert plots["Alignment residual, mean"].layout["shapes"][0]["y0"] == 10.0
    assert plots["Tilt axis"].data[0]["y"] == [85.0] * 4


def test_one_series_is_no_session():
    assert session_plots([make_item("a", 9, 2.0)]) == ()
