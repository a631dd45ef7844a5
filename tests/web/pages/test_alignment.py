"""The alignment page: largest error first, tracks by series, and what it refuses."""

from __future__ import annotations

from cryoloom.web.pages.alignment import alignment_facts, ranked_series
from cryoloom.web.site import Site
from makers.browser import Served, client
from makers.web_project import GAP, HOSTILE, MISPLACED

P = "/p/HIV-session"


def test_the_series_with_the_misplaced_bead_is_first(site: Site) -> None:
    ranking = ranked_series(site.project("HIV-session"))
    assert ranking[0]["series"] == MISPLACED[0]
    assert HOSTILE not in [one["series"] for one in ranking]
    errors = [one["left_out_angstrom"] for one in ranking]
    assert errors == sorted(errors, reverse=True)


def test_observations_leave_out_the_gap(site: Site) -> None:
    project = site.project("HIV-session")
    facts = alignment_facts(project, project.series(GAP[0]))
    place = [tilt["acquisition_index"] for tilt in facts["tilts"]].index(GAP[2])
    seen = {(track, tilt) for track, tilt, *_ in facts["observations"]}
    assert (GAP[1], place) not in seen
    assert facts["predicted"][GAP[1]][place] is not None
    assert facts["problem"] is None


def test_a_series_without_tracks_says_so_in_place(site: Site) -> None:
    project = site.project("HIV-session")
    facts = alignment_facts(project, project.series(HOSTILE))
    assert facts["problem"]
    assert facts["observations"] == []


def test_what_cannot_be_centred_or_accepted_is_refused(served: Served) -> None:
    with client(served) as http:
        answer = http.get(f"{P}/align/TS_01/centre?acquisition_index=99&x=0&y=0")
        assert answer.json()["error"] == "TS_01 has no image of acquisition index 99"
        assert http.get(f"{P}/align/TS_01/centre?acquisition_index=1&x=nothing&y=0").status_code == 422
        answer = http.post(f"{P}/align/TS_01/accept", json={"axis": "all"})
        assert answer.status_code == 422
