from cryoloom.model import Microscope, Tilt, TiltSeries
from cryoloom.report.content import SeriesReport
from cryoloom.report.plots import plots_of


def report_of(**records):
    series = TiltSeries("TS_01", Microscope(), 2.0, (Tilt(0, -3.0, 0.0, 1.0), Tilt(1, 3.0, 1.0, 2.0)))
    return SeriesReport("TS_01", series, records=records)


def test_the_filter_is_shown_beside_what_it_undoes():
    curve = {"frequency_per_angstrom": [0.0, 0.01, 0.02], "filter": [0.0, 8.0, -2.0], "ctf": [0.1, 0.9, -0.5]}
    (plot,) = plots_of(report_of(deconvolve={"deconvolution": curve}))["halves"]
    shown, undone = plot.data
    assert list(shown["y"]) == [0.0, 1.0, -0.25]
    assert list(undone["y"]) == [0.1, 0.9, -0.5]
    assert "near zero" in plot.caption


def test_training_is_shown_beside_doing_nothing():
    losses = {"training_loss": [0.9, 0.7], "validation_loss": [0.95, 0.8], "loss_of_doing_nothing": 1.2}
    (plot,) = plots_of(report_of(denoise={"training": losses}))["halves"]
    assert [list(trace["x"]) for trace in plot.data] == [[1, 2], [1, 2]]
    assert plot.layout["shapes"][0]["y0"] == 1.2


def test_nothing_is_shown_of_what_was_not_done():
    assert "halves" not in plots_of(report_of())
