"""Plots of the CTF: values, symbols and gaps as the series has them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from cryoloom.contract.figures import Record
from cryoloom.model import Ctf, Exclusion
from cryoloom.views.content import SeriesReport
from cryoloom.views.ctf_plots import defocus_plots, draw_ctf_curves, tilt_curve
from cryoloom.views.step_results import Kept, StepResult
from makers.made_series import make_series

RECORD = Record("ctf_curves", "Spectra and fits.", shows="ctf_curves")


def with_ctfs(**of_index):
    """Five tilts of 2 A pixels; CTFs by acquisition index."""
    series = make_series(n_tilts=5)
    usual = Ctf(32000.0, 30000.0, 10.0, fit_resolution_angstrom=8.0)
    return series.with_tilts(
        {t.acquisition_index: {"ctf": of_index.get(f"i{t.acquisition_index}", usual)} for t in series.tilts}
    )


def curve(index, n=4, **more):
    frequency = [0.01 * (i + 1) for i in range(n)]
    base = {
        "acquisition_index": index,
        "frequency_per_angstrom": frequency,
        "spectrum": [0.0, 1.0, None, 2.0],
        "model": [0.5] * n,
    }
    return base | more


def report(series, curves=None):
    kept = () if curves is None else (Kept(RECORD, curves),)
    return SeriesReport("TS_01", series, results=(StepResult("estimate_ctf", kept=kept),))


def test_defoci_in_micrometre_over_the_tilts_in_use():
    series = with_ctfs()
    series = series.with_tilts({3: {"exclusion": Exclusion.by_step("dark", "select_tilts")}})
    defocus, resolution = defocus_plots(report(series))
    assert len(defocus.data[0]["x"]) == 4
    assert set(defocus.data[0]["y"]) == {3.2}  # u, the larger
    assert set(defocus.data[1]["y"]) == {3.0}
    assert set(resolution.data[0]["y"]) == {8.0}


def test_a_predicted_ctf_is_hollow_and_has_no_resolution():
    defocus, resolution = defocus_plots(report(with_ctfs(i2=Ctf(31000.0, 31000.0, 0.0, predicted=True))))
    assert defocus.data[0]["marker"]["symbol"].count("circle-open") == 1
    assert len(resolution.data[0]["x"]) == 4


def test_a_fit_up_to_the_pixel_size_is_marked_and_explained():
    _, resolution = defocus_plots(report(with_ctfs(i0=Ctf(3e4, 3e4, 0.0, fit_resolution_angstrom=4.0))))
    symbols = resolution.data[0]["marker"]["symbol"]
    assert symbols.count("diamond-open") == 1
    assert "limited by the pixel size" in resolution.caption
    assert [shape["y0"] for shape in resolution.layout["shapes"]] == [20.0, 4.0]  # twice the pixel


@pytest.mark.parametrize("series", [None, make_series()])
def test_without_ctfs_there_is_no_plot(series):
    assert defocus_plots(report(series)) == ()


def test_curves_at_low_middle_and_high_tilt():
    curves = [curve(i) for i in range(5)]
    (plot,) = draw_ctf_curves(report(with_ctfs()), RECORD, curves)
    titles = [annotation["text"] for annotation in plot.layout["annotations"]]
    assert titles[0].startswith("tilt 0°")
    assert len(titles) == 3
    assert titles[0].endswith("3.10 µm")
    assert plot.layout["grid"]["columns"] == 3


def test_missing_numbers_are_gaps_and_the_background_fills_the_height():
    curves = [curve(0, background=[1.0, 2.0, 3.0, 5.0], nodes_per_angstrom=[0.02, 0.03])]
    (plot,) = draw_ctf_curves(report(with_ctfs()), RECORD, curves)
    lines = {trace["name"]: trace["y"] for trace in plot.data}
    assert lines["spectrum"] == [0.0, 1.0, None, 2.0]
    assert (min(lines["background"]), max(lines["background"])) == (0.0, 2.0)
    assert [shape["x0"] for shape in plot.layout["shapes"]] == [0.02, 0.03]


def test_curves_of_no_series_or_of_other_tilts():
    assert draw_ctf_curves(report(None), RECORD, [curve(0)]) == ()
    assert draw_ctf_curves(report(with_ctfs()), RECORD, [curve(77)]) == ()
    assert draw_ctf_curves(report(with_ctfs()), RECORD, None) == ()


def test_the_curve_of_one_tilt():
    item = report(with_ctfs(), [curve(i) for i in range(5)])
    plot = tilt_curve(item, 3)
    assert [trace["name"] for trace in plot.data] == ["spectrum", "model"]
    assert tilt_curve(item, 77) is None
    assert tilt_curve(replace(item, results=()), 3) is None
    assert all(value is None or math.isfinite(value) for trace in plot.data for value in trace["y"])
