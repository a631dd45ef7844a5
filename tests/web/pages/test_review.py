"""Doubted tilts of all series, the worst first."""

from __future__ import annotations

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
