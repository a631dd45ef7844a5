"""The table of all series: states, figures and notes."""

from __future__ import annotations

from cryoloom.web.pages.series_table import COLUMNS, table_rows
from cryoloom.web.review_index import ReviewIndex
from cryoloom.web.site import Site
from makers.web_project import HOSTILE, NAMES


def test_the_table_has_states_and_figures(site: Site) -> None:
    project = site.project("HIV-session")
    index = ReviewIndex(project)
    index.complete()
    rows, n_waiting = table_rows(project, index)
    assert n_waiting == 0
    keys = [column[0] for column in COLUMNS]
    by_name = {row[0]: dict(zip(keys, row, strict=True)) for row in rows}
    assert set(by_name) == set(NAMES)
    assert by_name["TS_01"]["state"] == "done"
    assert by_name["TS_01"]["tilts"] == 13
    assert by_name[HOSTILE]["state"] == "failed"
    assert "no tilt within 10 deg" in by_name[HOSTILE]["note"]
    assert (by_name["TS_02"]["out"], by_name["TS_02"]["open"]) == (1, 1)
    assert by_name["TS_01"]["defocus"] == 6.0
