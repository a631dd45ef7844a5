"""Any plain data as a table."""

from cryoloom.contract import Record
from cryoloom.model import Microscope, Tilt, TiltSeries
from cryoloom.views.content import SeriesReport
from cryoloom.views.data_table import DataTable
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
