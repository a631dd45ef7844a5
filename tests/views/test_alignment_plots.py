"""The alignment's plots draw what was recorded, and nothing where nothing was."""

import numpy as np
import pytest

from cryoloom.model import Microscope, Pose, Sourced, Tilt, TiltSeries
from cryoloom.views.alignment_plots import VECTOR_SCALE
from cryoloom.views.content import SeriesReport
from cryoloom.views.drawings import drawn
from makers.reported import reported

TILTS = [-30.0, 0.0, 30.0]


def item(records):
    tilts = tuple(
        Tilt(k, tilt, 0.0, 3.0, section=i, pose=Pose(85.0, tilt, residual_angstrom=2.0))
        for i, (k, tilt) in enumerate(zip([2, 0, 1], TILTS, strict=True))
    )
    series = TiltSeries("a", Microscope(), 2.7, tilts, Sourced.from_told(90.0, "mdoc"))
    return SeriesReport("a", series=series, results=reported(records={"align_series": records}))


def alignment_section(item):
    return drawn(item)["alignment"]


def vectors():
    return {
        "acquisition_index": [2, 0, 0, 1],
        "track": [0, 0, 1, 1],
        "x_angstrom": [100.0, 110.0, -50.0, -40.0],
        "y_angstrom": [10.0, 20.0, 30.0, 40.0],
        "dx_angstrom": [1.0, 2.0, 0.0, -1.0],
        "dy_angstrom": [0.0, 0.5, 30.0, 1.0],
        "counts": [True, True, False, True],
    }


def test_errors_of_all_kinds_stand_over_the_tilts():
    record = {
        "acquisition_index": [2, 0, 1],
        "residual_angstrom": [2.0, 1.0, None],
        "left_out_error_angstrom": [3.0, 1.5, None],
        "pose_error_angstrom": [None, 0.5, 0.6],
        "n_points": [5, 9, 0],
    }
    plot = alignment_section(item({"alignment": record}))[0]
    found = {trace["name"]: (trace["x"], trace["y"]) for trace in plot.data}
    assert found["residual"] == ([-30.0, 0.0], [2.0, 1.0])
    assert found["left out"] == ([-30.0, 0.0], [3.0, 1.5])
    assert found["pose"] == ([0.0, 30.0], [0.5, 0.6])


def test_vectors_of_one_tilt_are_seen_at_a_time():
    plot = next(p for p in alignment_section(item({"residuals": vectors()})) if p.title == "Residual vectors")
    slider = plot.layout["sliders"][0]
    assert [step["label"] for step in slider["steps"]] == ["-30°", "0°", "30°"]
    shown = [trace for trace in plot.data if trace["visible"]]
    assert shown[0]["x"] == [110.0, 110.0 + VECTOR_SCALE * 2.0, None]  # what counts, of the least tilt
    assert shown[1]["y"] == [30.0, 30.0 + VECTOR_SCALE * 30.0, None]  # the outlier
    for k, step in enumerate(slider["steps"]):
        assert np.flatnonzero(step["args"][0]["visible"]).tolist() == [2 * k, 2 * k + 1]


@pytest.mark.parametrize("nominal_deg", [90.0, None])
def test_the_axes_that_were_given_and_found_are_drawn(nominal_deg):
    record = {
        "told_deg": nominal_deg, "told_is_refuted": True,
        "by_squeezed_pairs_deg": 96.0, "by_common_line_deg": 95.5,
        "by_tracks_deg": 95.3, "circle_deg": [-90.0, -45.0, 0.0, 45.0], "circle_score": [0.5, 0.2, 0.1, 0.2],
    }  # fmt: skip
    plot = next(p for p in alignment_section(item({"tilt_axis": record})) if p.title == "Tilt axis")
    lines = {trace["name"]: trace["x"][0] for trace in plot.data[1:]}
    assert lines["tracks 95.30°"] == pytest.approx(95.3)
    curve = dict(zip(plot.data[0]["x"], plot.data[0]["y"], strict=True))
    assert curve == {45.0: 0.2, 90.0: 0.5, 135.0: 0.2, 180.0: 0.1}  # half a turn about what was found
    assert any(name.startswith("given") for name in lines) == (nominal_deg is not None)


def test_a_series_without_records_shows_its_poses():
    titles = [plot.title for plot in alignment_section(item({}))]
    assert titles == ["Alignment error", "Image shifts"]
