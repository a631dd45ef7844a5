"""What a report asks of a series: the last figure that suits, and the last record that a drawing shows."""

from __future__ import annotations

import pytest

from cryoloom.contract import Record
from cryoloom.contract.figures import Figure
from cryoloom.views.content import SeriesReport
from cryoloom.views.step_results import step_result

RESIDUAL = Figure("residual", "angstrom", "Residual", "", role="r")
BLUR = Figure("blur", "", "Blur", "")
COURSE = Record("course", "Course.", shows="curves")


@pytest.fixture
def report():
    first = step_result(
        "align", [RESIDUAL, BLUR], [COURSE], figures={"residual": 4.0}, records={"course": [1, 2]}
    )
    again = step_result(
        "align_again",
        [RESIDUAL],
        [COURSE],
        not_measurable={"residual": "too few tracks"},
        records={"course": [3]},
    )
    return SeriesReport("TS_01", None, results=(first, again))


def test_the_last_figure_counts_measurable_or_not(report):
    found = report.measured(lambda figure: figure.name == "residual")
    assert (found.value, found.reason) == (None, "too few tracks")
    assert report.measured(lambda figure: figure.name == "blur") is None


def test_the_last_record_of_a_drawing_counts(report):
    assert report.kept("curves") == [3]
    assert report.kept("table") is None
