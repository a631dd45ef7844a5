"""Any plain data as a table."""

from cryoloom.contract import Record
from cryoloom.model import Microscope, Tilt, TiltSeries
from cryoloom.views.content import SeriesReport
from cryoloom.views.data_table import MOST_LISTED, MOST_ROWS, DataTable, data_table
from cryoloom.views.drawings import drawn
from cryoloom.views.step_results import Kept, StepResult


def report_of(record, data):
    series = TiltSeries("TS_01", Microscope(), 2.0, (Tilt(0, -3.0, 0.0, 1.0), Tilt(1, 3.0, 1.0, 2.0)))
    return SeriesReport("TS_01", series, results=(StepResult("a_step", kept=(Kept(record, data),)),))


def test_any_plain_data_is_shown_as_a_table():
    data = {
        "mdoc": None,
        "used": True,
        "size_angstrom": 12.5,
        "tried": [{"n": 1}, {"n": 2}],
        "many": [*range(40)],
    }
    (table,) = drawn(report_of(Record("a_record", "Meaning."), data))["other"]
    assert isinstance(table, DataTable)
    assert (table.title, table.caption) == ("A record", "Meaning.")
    assert dict(table.rows) == {
        "mdoc": "\u2013", "used": "yes", "size angstrom": "12.5", "tried 1, n": "1", "tried 2, n": "2",
        "many": "40 values, 0 to 39",
    }  # fmt: skip


def test_a_list_of_mappings_has_a_column_for_every_key():
    table = data_table(
        "Tried", "What was tried.", [{"axis_deg": 3.0, "ok": True}, {"ok": False, "why": "dark"}]
    )
    assert table.headings == ("axis deg", "ok", "why")
    assert table.rows == (("3", "yes", "\u2013"), ("\u2013", "no", "dark"))


def test_a_long_table_is_cut_and_a_long_list_summarised():
    assert len(data_table("t", "", [{"n": i} for i in range(1000)]).rows) == MOST_ROWS
    assert data_table("t", "", {"a": list(range(MOST_LISTED))}).rows[0][1].endswith("11")
    assert data_table("t", "", {"a": ["x"] * 40, "b": [], "c": [float("nan")] * 20}).rows == (
        ("a", "40 values"), ("b", "none"), ("c", "20 values"),
    )  # fmt: skip


def test_a_single_value_is_a_row_without_a_name():
    assert data_table("t", "", 0.25).rows == (("", "0.25"),)
