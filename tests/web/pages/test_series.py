"""The page of one series: what it says where there is none."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

from cryoloom.store.decisions import Author, Change
from cryoloom.web.pages.series import series_facts
from cryoloom.web.site import Site
from makers.browser import Served
from makers.web_project import DARK, MadeProject

P = "/p/HIV-session"


def client(served: Served, token: str | None = None) -> httpx.Client:
    headers = {"authorization": f"token {token or served.access.owner_token}", "x-cryoloom": "1"}
    return httpx.Client(base_url=served.origin, headers=headers)


def test_a_page_says_that_a_series_is_not_there(served: Served) -> None:
    with client(served) as http:
        answer = http.get(f"{P}/series/nothing", headers={"accept": "text/html"})
    assert answer.status_code == 404
    assert "no series &#39;nothing&#39;" in answer.text


def test_a_series_knows_its_place_its_images_and_its_poses(site: Site, made: MadeProject) -> None:
    project = site.project("HIV-session")
    names = project.series_names()
    facts = series_facts(project, project.series(names[1]))
    assert (facts["previous"], facts["next"]) == (names[0], names[2])
    assert facts["position"] == [2, len(names)]
    assert series_facts(project, project.series(names[0]))["previous"] is None
    assert series_facts(project, project.series(names[-1]))["next"] is None
    good = series_facts(project, project.series("TS_01"))
    assert len(good["rows"]) == 13
    assert good["images"][0]["title"] == "as recorded"
    truth = made.truths["TS_01"]
    for section, (axis, *_shift) in good["alignment"].items():
        assert axis == pytest.approx(truth.tilt_axis_deg, abs=1.0), section


def test_the_path_is_that_of_the_specimen_and_not_of_the_shifts(site: Site, made: MadeProject) -> None:
    project = site.project("HIV-session")
    facts = series_facts(project, project.series("TS_01"))
    view = project.series("TS_01")
    assert view.series is not None
    for tilt in view.series.tilts:
        shifts = np.array(tilt.frame_shifts_yx_angstrom)
        if len(shifts) < 2:
            continue
        path = np.array(facts["paths"][tilt.acquisition_index])
        np.testing.assert_allclose(path.mean(axis=0), 0, atol=0.01)
        np.testing.assert_allclose(np.diff(path, axis=0), -np.diff(shifts, axis=0)[:, ::-1], atol=0.02)


def test_what_steps_and_users_said_is_listed_the_users_first(site: Site) -> None:
    project = site.project("HIV-session")
    name, index = DARK
    project.decide([Change("tilt", name, str(index), {"keep": True})], Author("anna"), "it is fine")
    facts = series_facts(project, project.series(name))
    assert facts["history"][0]["who"] == "anna"
    assert facts["history"][-1]["text"].startswith(f"left out tilt {index}: ")
