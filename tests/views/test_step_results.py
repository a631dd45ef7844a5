"""Stored values joined with what the step declares today."""

from __future__ import annotations

from cryoloom.contract import Record
from cryoloom.contract.figures import Figure
from cryoloom.views.numbers import NOT_MEASURABLE
from cryoloom.views.step_results import Measured, step_result

FIGURES = (Figure("b", "angstrom", "B", "Second letter."), Figure("a", "deg", "A", "First letter."))


def test_figures_come_in_the_order_of_their_declaration_with_reasons():
    result = step_result("align", FIGURES, [], figures={"a": 2.5}, not_measurable={"b": "too dark"})
    assert [(one.figure.title, one.value, one.reason) for one in result.measured] == [
        ("B", None, "too dark"), ("A", 2.5, ""),
    ]  # fmt: skip
    assert [one.text for one in result.measured] == [NOT_MEASURABLE, "2.5°"]


def test_a_figure_of_an_older_version_keeps_its_name_and_such_a_record_is_left_out():
    result = step_result(
        "align",
        FIGURES,
        [Record("kept", "Kept.")],
        figures={"old": 3.0, "a": 1.0},
        records={"gone": 1, "kept": 2},
    )
    assert [one.figure.title for one in result.measured] == ["A", "old"]
    assert [(one.record.name, one.data) for one in result.kept] == [("kept", 2)]


def test_what_was_not_reported_is_not_there():
    assert step_result("align", FIGURES, []).measured == ()
    assert Measured(FIGURES[0], 12.0).text == "12\u202fÅ"
