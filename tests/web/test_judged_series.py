"""A series in short: counts, doubts and its picture, the same after a way as JSON."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest

from cryoloom.web.judged_series import JudgedSeries, judged_series
from cryoloom.web.site import Site
from makers.web_project import BAD_CTF, DARK, HOSTILE, NAMES


def judged(site: Site, name: str) -> JudgedSeries:
    return judged_series(site.project("HIV-session").series(name))


@pytest.mark.parametrize("name", NAMES)
def test_it_comes_back_from_json_exactly(site: Site, name: str) -> None:
    one = judged(site, name)
    again = JudgedSeries.of_json(json.loads(json.dumps(one.as_json())))
    for field in fields(JudgedSeries):
        here, there = getattr(one, field.name), getattr(again, field.name)
        if isinstance(here, np.ndarray):
            assert here.dtype == there.dtype
            np.testing.assert_array_equal(here, there)
        else:
            assert here == there, field.name


def test_tilts_left_out_and_doubted_are_counted(site: Site) -> None:
    good, dark = judged(site, "TS_01"), judged(site, DARK[0])
    assert (good.n_tilts, good.n_excluded, good.n_open, good.doubted) == (13, 0, 0, ())
    assert (dark.n_tilts, dark.n_excluded, dark.n_open) == (13, 1, 1)
    assert [tilt.row.acquisition_index for tilt in dark.doubted] == [DARK[1]]


def test_the_failed_fit_is_marked_and_all_fits_are_of_the_series_defocus(site: Site) -> None:
    one = judged(site, BAD_CTF[0])
    assert len(one.fitted_tilt_deg) == len(one.fitted_defocus_angstrom) == len(one.fitted_marks)
    assert "flagged" in one.fitted_marks
    bad = one.fitted_marks.index("flagged")
    usual = np.median(one.fitted_defocus_angstrom)
    assert abs(one.fitted_defocus_angstrom[bad] - usual) > 5000
    assert usual == pytest.approx(60_000, rel=0.1)


def test_the_picture_is_of_the_least_tilted_image_in_use(site: Site) -> None:
    view = site.project("HIV-session").series("TS_01")
    assert view.series is not None
    least = min(view.series.included, key=lambda tilt: abs(float(tilt.nominal_tilt_deg)))
    assert judged(site, "TS_01").picture_section == least.section
    assert judged(site, "TS_01").role


def test_a_series_that_failed_has_what_was_known_before(site: Site) -> None:
    one = judged(site, HOSTILE)
    assert one.name == HOSTILE
    assert one.n_tilts == 13
