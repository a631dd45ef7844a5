"""The CTF page: worst fits first, and fits that are made again."""

from __future__ import annotations

from cryoloom.web.job import Job
from cryoloom.web.pages.ctf import ctf_facts, ctf_grid
from cryoloom.web.site import Site
from makers.browser import Served, client
from makers.web_project import BAD_CTF

P = "/p/HIV-session"


def test_the_series_with_the_failed_fit_is_first(site: Site) -> None:
    project = site.project("HIV-session")
    site.review(project).complete()
    grid = ctf_grid(site.review(project))
    assert grid[0]["series"] == BAD_CTF[0]
    assert grid[0]["worst"] > 1
    assert grid[0]["state"].count("flagged") == 1
    assert all(one["worst"] == 0 for one in grid[1:])
    assert {len(one["tilt_deg"]) for one in grid} == {len(one["defocus_um"]) for one in grid} == {13}


def test_curves_are_by_acquisition_index(site: Site) -> None:
    facts = ctf_facts(site.project("HIV-session"), "TS_01")
    assert set(facts["curves"]) == {row["acquisition_index"] for row in facts["rows"]}
    assert facts["handedness"] == 1.0


def test_fits_of_chosen_tilts_are_made_again(served: Served, started: list[Job]) -> None:
    with client(served) as http:
        sent = {"tilts": [BAD_CTF[1]], "how": "near"}
        assert http.post(f"{P}/ctf/{BAD_CTF[0]}/fit", json=sent).status_code == 200
        again = http.post(f"{P}/ctf/{BAD_CTF[0]}/fit", json=sent)
        assert (again.status_code, again.json()["error"]) == (422, "these tilts are treated so already")
        unknown = http.post(f"{P}/ctf/TS_01/fit", json={"tilts": [99], "how": "near"})
        assert unknown.json()["error"] == "TS_01 has no tilt of acquisition index [99]"
        assert http.get(f"{P}/ctf/{BAD_CTF[0]}/facts.json").json()["choices"]
    assert [job.as_typed for job in started] == ["cryoloom resume --project ."]
