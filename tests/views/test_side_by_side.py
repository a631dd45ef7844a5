"""Figures of a program and of the native step, as rows of text."""

from __future__ import annotations

from dataclasses import replace

from cryoloom.contract.figures import Figure
from cryoloom.views.side_by_side import MOST_ITEMS, ComparedRuns, side_by_side_table

RESIDUAL = Figure(
    "residual_mean_angstrom", "angstrom", "Mean residual", "Distance of points from their tracks."
)
TWO = ComparedRuns(
    names=("align", "align_imod"),
    made_by=("native", "IMOD 4.12"),
    same_input=True,
    medians={"residual_mean_angstrom": (4.0, 6.5), "n_beads": (None, 12.0)},
    figures={
        "TS_01": {"residual_mean_angstrom": (3.0, 7.0), "n_beads": (None, 10.0)},
        "TS_02": {"residual_mean_angstrom": (5.0, None)},
    },
    not_measurable={"TS_01": {}, "TS_02": {"residual_mean_angstrom": ("", "too few beads")}},
    declared={"residual_mean_angstrom": RESIDUAL},
    states={"TS_01": ("done", "done"), "TS_02": ("done", "done")},
    seconds=(12.0, 3.0),
)


def test_medians_come_first_and_the_difference_is_program_minus_native():
    table = side_by_side_table(TWO)
    assert table.title == "align_imod and align"
    assert table.headings == ("Item", "Figure", "align (native)", "align_imod (IMOD 4.12)", "Difference")
    assert table.rows[:3] == (
        ("median", "Mean residual", "4\u202fÅ", "6.5\u202fÅ", "+2.5\u202fÅ"),
        ("median", "n_beads", "\u2013", "12", ""),
        ("median", "Time", "12\u202fs", "3\u202fs", "\u22129\u202fs"),
    )


def test_every_item_follows_and_a_figure_without_a_value_says_so():
    rows = side_by_side_table(TWO).rows[3:]
    assert rows[0] == ("TS_01", "Mean residual", "3\u202fÅ", "7\u202fÅ", "+4\u202fÅ")
    assert rows[-1] == ("TS_02", "Mean residual", "5\u202fÅ", "not measurable", "")


def test_an_item_that_failed_says_so_on_its_side():
    states = {"TS_01": ("done", "done"), "TS_02": ("done", "failed: no licence")}
    rows = side_by_side_table(replace(TWO, states=states)).rows
    assert ("TS_02", "State", "done", "failed: no licence", "") in rows


def test_one_item_needs_no_median():
    one = replace(TWO, figures={"TS_01": TWO.figures["TS_01"]}, states={"TS_01": ("done", "done")})
    assert {row[0] for row in side_by_side_table(one).rows} == {"TS_01"}


def test_other_inputs_are_said():
    assert "different inputs" not in side_by_side_table(TWO).caption
    assert "different inputs" in side_by_side_table(replace(TWO, same_input=False)).caption


def test_many_items_have_medians_alone_and_the_command_that_lists_them():
    names = [f"TS_{i:04d}" for i in range(MOST_ITEMS + 1)]
    many = replace(
        TWO,
        figures=dict.fromkeys(names, TWO.figures["TS_01"]),
        states={name: ("done", "done") for name in names[1:]} | {names[0]: ("done", "absent")},
    )
    table = side_by_side_table(many)
    assert {row[0] for row in table.rows} == {"median"}
    assert "1 items are not done in both runs" in table.caption
    assert "cryoloom compare --project DIR align align_imod" in table.caption
