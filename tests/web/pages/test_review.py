"""Doubted tilts of all series, the worst first."""

from __future__ import annotations

from cryoloom.store.decisions import Author, Change
from cryoloom.web.pages.review import review_facts
from cryoloom.web.review_index import ReviewIndex
from cryoloom.web.site import Site
from makers.web_project import BAD_CTF, DARK, MISPLACED, SHIFTED


def test_review_lists_planted_faults_worst_first(site: Site) -> None:
    project = site.project("HIV-session")
    facts = review_facts(project, ReviewIndex(project))
    found = [(tilt["series"], tilt["acquisition_index"]) for tilt in facts["tilts"]]
    assert found[0] == DARK
    assert found[1] == SHIFTED
    assert set(found[2:]) == {BAD_CTF, (MISPLACED[0], MISPLACED[2])}
    severities = [tilt["flag"]["severity"] for tilt in facts["tilts"]]
    assert severities == sorted(severities, reverse=True)
    assert facts["n_open"] == 4


def test_a_tilt_that_is_decided_on_goes_behind_the_open_ones(site: Site) -> None:
    project = site.project("HIV-session")
    name, index = DARK
    project.decide([Change("tilt", name, str(index), {"keep": True})], Author("anna"), "")
    facts = review_facts(project, ReviewIndex(project))
    assert (facts["n_flagged"], facts["n_open"]) == (4, 3)
    last = facts["tilts"][-1]
    assert (last["series"], last["acquisition_index"], last["is_open"], last["kept"]) == (
        name, index, False, True,
    )  # fmt: skip
    assert facts["n_series"] == len(project.series_names())
    assert facts["n_waiting"] == 0


def test_a_tilt_has_its_picture_and_reasons_have_words(site: Site) -> None:
    project = site.project("HIV-session")
    facts = review_facts(project, ReviewIndex(project))
    for tilt in facts["tilts"]:
        item, role = tilt["base"].removeprefix("/p/HIV-session/image/").split("/")
        assert project.image(int(item), role).shape[0] == 13
        assert facts["reasons"][tilt["flag"]["reason"]]
