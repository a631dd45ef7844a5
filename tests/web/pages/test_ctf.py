"""The CTF page: worst fits first, and fits that are made again."""

from __future__ import annotations

import pytest

from cryoloom.web.job import Job
from cryoloom.web.pages import ctf
from cryoloom.web.pages.ctf import ctf_facts, ctf_grid
from cryoloom.web.site import Site
from makers.browser import Served, client
from makers.web_project import BAD_CTF

P = "/p/HIV-session"


def test_the_series_with_the_failed_fit_is_first(site: Site) -> None:
    project = site.project("HIV-session")
    site.review(project).complete()
    grid = ctf_grid(site.review(project))
    first, *others = grid["curves"]
    assert first["series"] == BAD_CTF[0]
    assert first["worst"] > 1
    assert first["state"].count("flagged") == 1
    assert all(one["worst"] == 0 for one in others)
    assert {len(one["tilt_deg"]) for one in grid["curves"]} == {13}
    assert {len(one["defocus_um"]) for one in grid["curves"]} == {13}
    assert (grid["n"], grid["n_doubtful"], grid["n_found"]) == (5, 1, 5)


def test_series_are_found_by_a_part_of_their_name_and_the_first_ones_are_sent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = site.review(site.project("HIV-session"))
    index.complete()
    assert [one["series"] for one in ctf_grid(index, "name", "ts_0")["curves"]] == [
        "TS_01", "TS_02", "TS_03", "TS_04"
    ]  # fmt: skip
    monkeypatch.setattr(ctf, "_MOST_CURVES", 2)
    grid = ctf_grid(index, "name", "ts_0")
    assert (len(grid["curves"]), grid["n_found"], grid["n"]) == (2, 4, 5)


def test_names_with_numbers_are_in_order() -> None:
    assert sorted(["TS_10", "TS_9", "b", "TS_9b"], key=ctf._natural) == ["TS_9", "TS_9b", "TS_10", "b"]


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
