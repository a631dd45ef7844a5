"""The table of all series: states, figures and notes."""

from __future__ import annotations

from typing import Any

from cryoloom.store.decisions import Author, Change
from cryoloom.web.pages.series_table import table_columns, table_rows
from cryoloom.web.project_view import ProjectView
from cryoloom.web.review_index import ReviewIndex
from cryoloom.web.site import Site
from makers.web_project import HOSTILE, NAMES


def test_the_table_has_states_and_figures(site: Site) -> None:
    project = site.project("HIV-session")
    index = ReviewIndex(project)
    index.complete()
    rows, n_waiting = table_rows(project, index)
    assert n_waiting == 0
    keys = [column[0] for column in table_columns()]
    by_name = {row[0]: dict(zip(keys, row, strict=True)) for row in rows}
    assert set(by_name) == set(NAMES)
    assert by_name["TS_01"]["state"] == "done"
    assert by_name["TS_01"]["tilts"] == 13
    assert by_name[HOSTILE]["state"] == "failed"
    assert "no tilt within 10 deg" in by_name[HOSTILE]["note"]
    assert (by_name["TS_02"]["out"], by_name["TS_02"]["open"]) == (1, 1)
    assert by_name["TS_01"]["defocus"] == 6.0


def row_of(project: ProjectView, name: str) -> dict[str, Any]:
    index = ReviewIndex(project)
    index.complete()
    keys = [column[0] for column in table_columns()]
    rows, _ = table_rows(project, index)
    return next(dict(zip(keys, row, strict=True)) for row in rows if row[0] == name)


def test_a_series_left_out_or_commented_says_so(site: Site) -> None:
    project = site.project("HIV-session")
    anna = Author("anna")
    project.decide([Change("comment", "TS_01", "", "the best one")], anna, "")
    assert row_of(project, "TS_01")["note"] == "the best one"
    project.decide([Change("series", "TS_01", "", {"keep": False})], anna, "too thick")
    row = row_of(project, "TS_01")
    assert (row["state"], row["note"]) == ("excluded", "too thick")
    project.decide([Change("series", HOSTILE, "", {"keep": False})], anna, "")
    failed = row_of(project, HOSTILE)
    assert (failed["state"], failed["note"]) == ("excluded", "left out by hand")


def test_series_that_are_not_read_yet_are_counted(site: Site) -> None:
    project = site.project("HIV-session")
    index = ReviewIndex(project)
    rows, n_waiting = table_rows(project, index)
    assert 0 <= n_waiting <= len(rows)
    index.complete()
    assert table_rows(project, index)[1] == 0
