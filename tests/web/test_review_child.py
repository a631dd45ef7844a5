"""Series judged in another process: the same as here, and what cannot be read is left out."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from cryoloom.web.judged_series import JudgedSeries, judged_series
from cryoloom.web.review_child import judged_elsewhere
from cryoloom.web.site import Site
from cryoloom.web.tilt_flags import QUALITY_RECORD
from makers.web_project import DARK, NAMES


def test_another_process_judges_the_same(site: Site) -> None:
    project = site.project("HIV-session")
    found = [one for made in judged_elsewhere(project.folder, [*NAMES, "no_such"]) for one in made]
    assert [one.name for one in found] == list(NAMES)
    for one in found:
        here = judged_series(project.series(one.name))
        lean = judged_series(project.series_with_record(one.name, QUALITY_RECORD))
        for field in fields(JudgedSeries):
            values = [getattr(series, field.name) for series in (one, here, lean)]
            assert all(np.array_equal(value, values[0]) for value in values), field.name
    dark = next(one for one in found if one.name == DARK[0])
    assert DARK[1] in {tilt.row.acquisition_index for tilt in dark.doubted}
    assert (dark.n_tilts, dark.n_excluded) == (13, 1)


def test_a_project_that_is_gone_ends_it(site: Site) -> None:
    assert list(judged_elsewhere(site.project("HIV-session").folder / "gone", ["TS_01"])) == []
