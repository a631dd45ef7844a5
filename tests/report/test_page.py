"""The report is one whole file that shows what it was given, and leaves out what it was not."""

import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from cryoloom.errors import TransientError
from cryoloom.formats.pixels.mrc import MrcPixels, MrcSink
from cryoloom.model import (
    Ctf,
    Exclusion,
    GainReference,
    Microscope,
    Pose,
    Sourced,
    Stack,
    Tilt,
    TiltSeries,
    Tomogram,
)
from cryoloom.report.page import state_of_report, write_report
from cryoloom.views.content import ReportContent, RunSummary, SeriesReport
from makers.reported import reported

ANGLES = (-40.0, -20.0, 0.0, 20.0, 40.0)


def make_series(rng, name="TS_01"):
    tilts = tuple(
        Tilt(
            i,
            angle,
            3.0 * i,
            3.0 * i + 3,
            section=i,
            frame_shifts_yx_angstrom=((0.0, 0.0), (1.0, 1.0), (3.0, 1.0)),
            exclusion=Exclusion.by_step("dark: <b>10 %</b>", "select_tilts") if i == 4 else None,
            ctf=Ctf(40000.0, 39000.0, 20.0, fit_resolution_angstrom=8.0, predicted=i == 3),
            pose=Pose(-4.0, angle, 0.0, (5.0 * i, 3.0)),
        )
        for i, angle in enumerate(ANGLES)
    )
    images = rng.normal(size=(5, 40, 60)).astype(np.float32)
    gain = GainReference(Path("gain.mrc"), 1, "none", "found")
    return TiltSeries(
        name, Microscope(), 2.7, tilts, handedness=Sourced(applied=1.0), gain=gain, stack=Stack(images, 2.7)
    )


def make_report(rng, name="TS_01"):
    series = make_series(rng, name)
    frequency = np.linspace(0, 0.1, 20).tolist()
    return SeriesReport(
        name,
        series,
        Tomogram(series, rng.normal(size=(8, 40, 60)).astype(np.float32), 10.8),
        results=reported(
            figures={
                "align_frames": {"motion_median_angstrom": 4.0},
                "estimate_ctf": {"fit_resolution_median_angstrom": 8.0, "defocus_median_angstrom": 39500.0},
                "align_series": {"residual_mean_angstrom": 15.0, "figure_of_an_older_version_px": 3.0},
            },
            not_measurable={"align_series": {"pose_error_angstrom": "too few tracks"}},
            records={
                "prepare_gain": {
                    "gain_orientation": {"trials": [{"quarter_turns": 0, "flip": "none", "variation": 0.1}]}
                },
                "select_tilts": {
                    "tilt_quality": {"acquisition_index": [0, 1, 2, 3, 4], "mean_counts": [8, 9, 10, 9, 1]}
                },
                "estimate_ctf": {
                    "ctf_curves": [
                        {
                            "acquisition_index": i,
                            "frequency_per_angstrom": frequency,
                            "spectrum": [None, *frequency[1:]],
                            "model": frequency,
                            "background": [3.0 - f for f in frequency],
                            "nodes_per_angstrom": [0.05] if i == 0 else [],
                        }
                        for i in range(4)
                    ]
                },
                "align_series": {
                    "alignment": {
                        "acquisition_index": [0, 1],
                        "residual_angstrom": [3.0, None],
                        "n_points": [9, 0],
                    }
                },
            },
        ),
        warnings=(("estimate_ctf", "</script><script>alert(1)</script>"),),
        files={"tomogram": Path("runs/1/tomogram.mrc")},
        seconds={"align_frames": 75.0},
    )


def make_content(*items):
    runs = (
        RunSummary(
            1,
            "align_frames",
            "Align.",
            {"binning": 2},
            "done",
            1,
            0,
            2,
            datetime(2026, 1, 2),
            3.0,
            ("A, B (2015)",),
        ),
    )
    return ReportContent(
        "My <project>", datetime(2026, 11, 21, 5), "0.1.0", runs, items, "Methods [1].", {"numpy": "2"}
    )


def written(tmp_path, *items):
    write_report(make_content(*items), tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def tilt_data(html):
    """What the page shows of each tilt on a click."""
    return json.loads(re.search(r'<script type="application/json" class="tilt-data">(.*?)</script>', html)[1])


def without_plotly(html):
    return re.sub(r"<script>/\*\*\s*\* plotly\.js.*?</script>", "", html, flags=re.DOTALL)


def test_shows_everything_it_was_given(rng, tmp_path):
    html = written(tmp_path, make_report(rng))
    for text in ("Tilt images", "Motion", "Contrast transfer function", "Alignment error", "Tomogram"):
        assert f">{text}</h" in html
    # A thumbnail, a large image and a spectrum of every tilt; three slices of the tomogram, and two layers.
    assert html.count("data:image/jpeg;base64,") == 5 * 3 + 3 + 2
    assert html.count('class="excluded"') == 2  # in the gallery and in the table
    assert "4 of 5" in html
    assert "figure_of_an_older_version_px" in html
    assert "not measurable" in html
    assert "Too few tracks." in html
    assert "A, B (2015)" in html
    assert "Gain reference" in html


def test_refers_to_nothing_outside_and_runs_nothing_from_its_values(rng, tmp_path):
    html = without_plotly(written(tmp_path, make_report(rng)))
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert "<script>alert" not in html
    assert "<b>10 %</b>" not in html
    assert "My &lt;project&gt;" in html


def test_plots_are_valid_data(rng, tmp_path):
    html = without_plotly(written(tmp_path, make_report(rng)))
    found = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', html)]
    plots = [data for data in found if "layout" in data]
    assert len(plots) == 9
    fits = next(p for p in plots if "frequency" in p["layout"]["xaxis"]["title"]["text"])
    assert [trace["name"] for trace in fits["data"][:3]] == ["background", "spectrum", "model"]
    # The first exposure stands at -40 degrees, in the last panel.
    assert [shape["x0"] for shape in fits["layout"]["shapes"]] == [0.05]
    hollow = next(p for p in plots if p["layout"]["yaxis"]["title"]["text"].startswith("underfocus"))
    assert hollow["data"][0]["marker"]["symbol"] == ["circle"] * 3 + ["circle-open"]


def test_every_tilt_has_a_row_a_large_image_a_spectrum_and_a_curve(rng, tmp_path):
    html = written(tmp_path, make_report(rng))
    rows = re.findall(r'<tr data-tilt="(\d)"(.*?)</tr>', html)
    assert [index for index, _ in rows] == ["0", "1", "2", "3", "4"]
    assert "excluded: dark: &lt;b&gt;10 %&lt;/b&gt; (by select_tilts)" in rows[4][1]
    assert "40000" in rows[0][1]
    assert "39000" in rows[0][1]
    assert "no rings visible; CTF predicted" in rows[3][1]
    tilts = tilt_data(html)
    assert [tilt["index"] for tilt in tilts] == [0, 1, 2, 3, 4]
    for tilt in tilts:
        assert tilt["large"].startswith("data:image/jpeg;base64,")
        assert tilt["spectrum"].startswith("data:image/jpeg;base64,")
        assert "the fitted CTF on the right" in tilt["spectrum_caption"]
    assert [tilt["curve"] is not None for tilt in tilts] == [True, True, True, True, False]
    assert [trace["name"] for trace in tilts[0]["curve"]["data"]] == ["spectrum", "model"]
    assert ["State", "excluded: dark: <b>10 %</b> (by select_tilts)"] in tilts[4]["facts"]


def test_a_slider_moves_the_slice_along_z(rng, tmp_path):
    item = make_report(rng)
    volume = rng.normal(size=(40, 40, 60)).astype(np.float32)
    html = written(tmp_path, replace(item, tomogram=replace(item.tomogram, volume=volume)))
    layers = json.loads(re.search(r'<div class="layers">.*?json">(.*?)</script>', html, re.DOTALL)[1])
    assert len(layers["images"]) == len(layers["nm"]) == 6  # of 40 sections, seven at a time
    assert layers["nm"][0].startswith("\u2212")
    assert re.search(r'<input type="range" min="0" max="5" value="\d"', html)


def test_series_of_a_session_are_compared(rng, tmp_path):
    items = [replace(make_report(rng, name), tomogram=None) for name in ("TS_01", "TS_02", "TS_03")]
    html = without_plotly(written(tmp_path, *items))
    assert "Figures over the session" in html
    assert "Figures over the session" not in written(tmp_path, items[0])


def stored_report(rng, folder, name):
    """A report whose pixels are in files, as those of projects are."""
    item = make_report(rng, name)
    sink = MrcSink(folder / f"{name}.mrc", (5, 40, 60), 2.7, "float32")
    sink[:] = np.asarray(item.series.stack.images)
    sink.commit()
    series = replace(item.series, stack=Stack(MrcPixels(folder / f"{name}.mrc"), 2.7))
    return replace(item, series=series, tomogram=None)


def test_many_large_series_get_a_page_each_that_is_written_only_when_it_changes(rng, tmp_path, monkeypatch):
    monkeypatch.setattr("cryoloom.report.page.MOST_BYTES_IN_ONE_FILE", 10_000)
    items = [stored_report(rng, tmp_path, name) for name in ("TS_01", "TS_02")]
    path, cache = tmp_path / "report.html", tmp_path / "cache"
    write_report(make_content(*items), path, cache)
    html = path.read_text(encoding="utf-8")
    assert 'href="report/TS_01.html"' in html
    assert 'class="series"' not in html
    pages = {name: tmp_path / "report" / f"{name}.html" for name in ("TS_01", "TS_02")}
    for name, page in pages.items():
        text = page.read_text(encoding="utf-8")
        assert f"<h2>{name}</h2>" in text
        assert not re.search(r'(src|href)="(?!data:|#|\.\./report\.html)', without_plotly(text))
        assert len(tilt_data(text)) == 5
    before = {name: page.stat().st_mtime_ns for name, page in pages.items()}
    changed = replace(items[1], warnings=(("align_series", "a new warning"),))
    write_report(make_content(items[0], changed), path, cache)
    assert pages["TS_01"].stat().st_mtime_ns == before["TS_01"]
    assert pages["TS_02"].stat().st_mtime_ns != before["TS_02"]
    assert "a new warning" in pages["TS_02"].read_text(encoding="utf-8")


def test_the_state_it_was_made_from_is_kept_in_it(rng, tmp_path):
    path = tmp_path / "report.html"
    assert state_of_report(path) == ""
    write_report(replace(make_content(), state="abc123"), path)
    assert state_of_report(path) == "abc123"


@pytest.mark.parametrize("missing", ["tomogram", "ctf", "stack", "movies", "poses", "everything"])
def test_leaves_out_what_is_missing(rng, tmp_path, missing):
    item = make_report(rng)
    indices = range(5)
    series = {
        "ctf": item.series.with_tilts({i: {"ctf": None} for i in indices}),
        "movies": item.series.with_tilts({i: {"frame_shifts_yx_angstrom": ()} for i in indices}),
        "poses": item.series.with_tilts({i: {"pose": None} for i in indices}),
        "stack": replace(item.series, stack=None),
    }.get(missing, item.series)
    item = replace(item, series=series, tomogram=None if missing == "tomogram" else item.tomogram)
    if missing in ("ctf", "poses"):
        item = replace(item, results=())
    if missing == "everything":
        item = SeriesReport("TS_01", None, failure=("import_movies", "no such movie <x>"))
    html = written(tmp_path, item)
    title = {"tomogram": "Tomogram", "ctf": "CTF fits", "stack": "Tilt images", "movies": "Motion"}.get(
        missing
    )
    assert f">{title}</h" not in html
    if missing == "everything":
        assert "no such movie &lt;x&gt;" in html
        assert "plotly.js" not in html


def test_many_series_start_closed(rng, tmp_path):
    item = replace(make_report(rng), tomogram=None)
    few = written(tmp_path, item)
    assert 'id="series-1" open' in few
    many = written(tmp_path, *[replace(item, name=f"TS_{i}") for i in range(12)])
    assert 'id="series-1" open' not in many
    assert many.count('class="series"') == 12


def test_a_disk_that_cannot_be_written_is_reported(rng, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TransientError, match="report"):
        write_report(make_content(), tmp_path / "file" / "report.html")
