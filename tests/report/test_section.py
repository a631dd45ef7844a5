"""One series as the templates show it: cells, rows of figures, texts."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.contract.figures import Bounds, Column, Figure
from cryoloom.model import Average, Exclusion
from cryoloom.report.section import SERIES_COLUMNS, column_heading, series_row, series_section
from cryoloom.views.content import SeriesReport
from cryoloom.views.step_results import Measured, StepResult
from makers.made_series import aligned, make_series

DEFOCUS = Figure(
    "defocus_angstrom", "angstrom", "Defocus", "Of the middle.",
    column=Column("Defocus", digits=2, unit="µm", divide_by=1e4),
)  # fmt: skip
RESIDUAL = Figure(
    "residual_angstrom", "angstrom", "Residual", "Of the tracks.", bounds=Bounds(5.0, 10.0, "blur"),
    column=Column("Residual"),
)  # fmt: skip


def report(series=None, *measured, **more):
    return SeriesReport("TS_01", series, results=(StepResult("align_series", tuple(measured)),), **more)


def texts(section):
    return [text for text, _ in section.cells]


def test_the_row_has_tilts_range_dose_and_axis_and_then_figures():
    series = aligned(make_series(n_tilts=5))
    series = series.with_tilts({4: {"exclusion": Exclusion.by_step("dark", "select_tilts")}})
    row = series_row(report(series, Measured(DEFOCUS, 32100.0)), None, (DEFOCUS, RESIDUAL))
    assert len(row.cells) == len(SERIES_COLUMNS) + 2
    # Tilt 4 is that of +6 degrees; its dose was given all the same.
    assert texts(row) == ["4 of 5", "\u22126° to 3°", "15", "85.0", "3.21", "\u2013"]
    assert [value for _, value in row.cells] == [4.0, 9.0, 15.0, 85.0, 3.21, None]


def test_a_figure_that_could_not_be_measured_says_so_in_its_cell():
    row = series_row(report(make_series(), Measured(RESIDUAL, None, "too few beads")), None, (RESIDUAL,))
    assert texts(row)[-1] == "not measurable"


def test_an_item_without_a_series_has_dashes():
    assert texts(series_row(report(None), None, ())) == ["\u2013"] * 4


def test_the_median_axis_is_that_of_the_tilts_in_use():
    series = make_series()
    assert texts(series_row(report(series), None, ()))[3] == "\u2013"  # not aligned
    assert texts(series_row(report(aligned(series)), None, ()))[3] == "85.0"


def test_figures_have_their_meaning_their_bounds_and_the_reason_they_lack_a_value():
    item = report(make_series(), Measured(RESIDUAL, 4.0), Measured(DEFOCUS, None, "no rings were seen"))
    first, second = series_section(item, 1, None, (), None).figures
    assert (first.step, first.title, first.value, first.good) == (
        "align_series",
        "Residual",
        "4\u202fÅ",
        "up to 5\u202fÅ",
    )
    assert second.value == "not measurable"
    assert second.meaning == "No rings were seen. Of the middle."


def test_the_headline_tells_what_was_recorded():
    assert series_row(report(make_series()), None, ()).headline == "5 tilts, 2 Å per pixel, 300 kV"
    average = Average("all", np.zeros((4, 4, 4), np.float32), 2.0, n_particles=812)
    assert (
        series_row(SeriesReport("all", None, average=average), None, ()).headline
        == "average of 812 particles"
    )


def test_the_heading_of_a_column():
    assert column_heading(DEFOCUS) == ("Defocus", "µm", "Of the middle.")
    assert column_heading(RESIDUAL) == ("Residual", "Å", "Of the tracks.")
    with pytest.raises(ValueError, match="declares no column"):
        column_heading(Figure("n", "", "N", ""))


def test_every_tilt_is_shown_and_an_excluded_one_says_why():
    series = make_series().with_tilts({3: {"exclusion": Exclusion.by_step("dark", "select_tilts")}})
    section = series_section(report(series), 7, None, (), None)
    assert section.anchor == "series-7"
    assert [tilt.angle for tilt in section.tilts] == ["\u22126.0°", "\u22123.0°", "0.0°", "3.0°", "6.0°"]
    (excluded,) = [tilt.row for tilt in section.tilts if not tilt.row.is_kept]
    assert (excluded.acquisition_index, excluded.reason) == (3, "dark")
    assert all(len(tilt.cells) == len(section.tilts[0].cells) for tilt in section.tilts)
