from cryoloom.model import Microscope, Pose, Tilt, TiltSeries
from cryoloom.views.content import SeriesReport
from cryoloom.views.drawings import drawn
from makers.reported import reported


def report_of(**records):
    """Records by step and name."""
    series = TiltSeries("TS_01", Microscope(), 2.0, (Tilt(0, -3.0, 0.0, 1.0), Tilt(1, 3.0, 1.0, 2.0)))
    return SeriesReport("TS_01", series, results=reported(records=records))


def test_the_filter_is_shown_beside_what_it_undoes():
    curve = {"frequency_per_angstrom": [0.0, 0.01, 0.02], "filter": [0.0, 8.0, -2.0], "ctf": [0.1, 0.9, -0.5]}
    (plot,) = drawn(report_of(deconvolve={"deconvolution": curve}))["tomogram"]
    shown, undone = plot.data
    assert list(shown["y"]) == [0.0, 1.0, -0.25]
    assert list(undone["y"]) == [0.1, 0.9, -0.5]
    assert "near zero" in plot.caption


def test_training_is_shown_beside_doing_nothing():
    losses = {"training_loss": [0.9, 0.7], "validation_loss": [0.95, 0.8], "loss_of_doing_nothing": 1.2}
    (plot,) = drawn(report_of(denoise={"training": losses}))["tomogram"]
    assert [list(trace["x"]) for trace in plot.data] == [[1, 2], [1, 2]]
    assert plot.layout["shapes"][0]["y0"] == 1.2


def test_nothing_is_shown_of_what_was_not_done():
    assert "tomogram" not in drawn(report_of())


def test_the_slab_is_drawn_on_its_slice():
    tilts = tuple(Tilt(i, 3.0 * i, 3.0 * i, 3.0 * i + 3, pose=Pose(85.0, 3.0 * i)) for i in range(3))
    found = {
        "x_angstrom": [-20.0, 0.0, 20.0],
        "z_angstrom": [-20.0, 0.0],
        "slice": [[0, 128, 255], [1, 2, 3]],
        "lower_angstrom": [-10.0, -9.0, -8.0],
        "upper_angstrom": [10.0, 11.0, 12.0],
        "depth_angstrom": [-20.0, 0.0, 20.0],
        "filled": [0.0, 0.1, 0.0],
        "thickness_angstrom": 20.0,
    }
    series = TiltSeries("TS", Microscope(), 2.7, tilts)
    results = reported(records={"estimate_slab": {"slab": found}})
    plots = drawn(SeriesReport("TS", series, results=results))["alignment"]
    by_title = {plot.title: plot for plot in plots}
    assert [trace["type"] for trace in by_title["Slab"].data] == ["heatmap", "scatter", "scatter"]
    assert by_title["Slab"].data[2]["y"] == [10.0, 11.0, 12.0]
    assert [shape["x0"] for shape in by_title["Across the slab"].layout["shapes"]] == [-10.0, 10.0]
