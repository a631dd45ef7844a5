"""Every record a step declares has a drawing, and every drawing draws what some step declares."""

import pytest

from cryoloom.contract import Record, all_steps
from cryoloom.model import Microscope, Tilt, TiltSeries
from cryoloom.views.content import SeriesReport
from cryoloom.views.drawings import DRAWINGS, SECTIONS, drawn
from cryoloom.views.plot_parts import Plot
from cryoloom.views.step_results import Kept, StepResult
from makers.reported import reported

DECLARED = [(name, record) for name, step in all_steps().items() for record in step.records]


def report_of(record, data):
    series = TiltSeries("TS_01", Microscope(), 2.0, (Tilt(0, -3.0, 0.0, 1.0), Tilt(1, 3.0, 1.0, 2.0)))
    return SeriesReport("TS_01", series, results=(StepResult("a_step", kept=(Kept(record, data),)),))


@pytest.mark.parametrize(("step", "record"), DECLARED, ids=[f"{s}-{r.name}" for s, r in DECLARED])
def test_every_declared_record_has_a_drawing(step, record):
    assert record.shows in DRAWINGS


def test_every_drawing_is_of_use_and_in_a_section():
    assert set(DRAWINGS) - {record.shows for _, record in DECLARED} <= {"table"}
    assert {drawing.section for drawing in DRAWINGS.values()} <= set(SECTIONS)


@pytest.mark.parametrize("shows", sorted(set(DRAWINGS) - {"table", "evidence"}))
@pytest.mark.parametrize("data", [None, {}, [], {"unknown": 1}])
def test_a_drawing_of_nothing_is_nothing(shows, data):
    assert "other" not in drawn(report_of(Record("r", "Meaning.", shows=shows), data))
    assert not any(shown for shown in drawn(report_of(Record("r", "Meaning.", shows=shows), data)).values())


@pytest.mark.parametrize(
    "data", [[1.0, 0.5], {"x_title": "iteration", "x": [1, 2], "curves": {"a": [1.0, 0.5]}}]
)
def test_curves_of_any_step_are_drawn(data):
    (plot,) = drawn(report_of(Record("residual_course", "Residual.", shows="curves"), data))["tomogram"]
    assert isinstance(plot, Plot)
    assert (plot.title, plot.data[0]["x"], plot.data[0]["y"]) == ("Residual course", [1.0, 2.0], [1.0, 0.5])


def test_the_last_record_of_a_name_counts():
    losses = {"training_loss": [1.0], "validation_loss": [1.0], "loss_of_doing_nothing": 1.2}
    first = reported(records={"denoise": {"training": losses}})
    second = reported(records={"denoise": {"training": {**losses, "validation_loss": [0.5]}}})
    series = TiltSeries("TS_01", Microscope(), 2.0, (Tilt(0, 0.0, 0.0, 1.0),))
    (plot,) = drawn(SeriesReport("TS_01", series, results=(*first, *second)))["tomogram"]
    assert plot.data[1]["y"] == [0.5]


def test_gain_orientations_are_bars_the_one_in_use_marked():
    trials = [{"quarter_turns": q, "flip": "none", "variation": 0.1 + 0.1 * q} for q in (0, 1)]
    data = {"trials": trials, "variation_without_gain": 0.3, "quarter_turns": 0, "flip": "none", "by": "data"}
    (plot,) = drawn(report_of(Record("g", "Meaning.", shows="gain_trials"), data))["images"]
    (bars,) = plot.data
    assert bars["y"] == ["without gain reference", "turned by 90°", "turned by 0°"]
    assert len(set(bars["marker"]["color"][:2])) == 1
    assert bars["marker"]["color"][2] != bars["marker"]["color"][0]


def test_sources_of_imported_quantities_are_a_table():
    used = {"name": "mdoc", "says": 2.7, "why_not": ""}
    other = {"name": "header", "says": 1.0, "why_not": "is 1"}
    one = {"quantity": "pixel size", "value": 2.7, "used": "mdoc", "note": "the header says 1"}
    one["sources"] = [used, other]
    (table,) = drawn(report_of(Record("import", "M.", shows="evidence"), {"evidence": [one]}))["import"]
    assert table.rows == (
        ("pixel size", "2.7", "mdoc", "mdoc: 2.7; header: 1 (not counted: is 1)", "the header says 1"),
    )
