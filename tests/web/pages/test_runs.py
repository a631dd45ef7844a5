"""The page of a run: its items with their figures and sentences, what needs it, what may be started."""

from __future__ import annotations

from cryoloom.web.job import Job
from cryoloom.web.pages.runs import run_facts
from cryoloom.web.site import Site
from makers.browser import Served, client
from makers.web_project import HOSTILE, NAMES

P = "/p/HIV-session"


def test_items_have_figures_links_and_their_error(site: Site) -> None:
    project = site.project("HIV-session")
    run = next(run for run in project.runs() if run.step == "align_series")
    facts = run_facts(project, run)
    assert [item["name"] for item in facts["items"]] == sorted(NAMES)
    by_name = {item["name"]: item for item in facts["items"]}
    assert by_name[HOSTILE]["state"] == "failed"
    assert by_name[HOSTILE]["says"] == "no tilt within 10 deg of zero is left"
    at = facts["figures"].index("tilt_axis_deg")
    assert by_name["TS_01"]["figures"][at] == 85.3
    assert by_name["TS_01"]["link"] == "/p/HIV-session/series/TS_01"
    assert [node for _, node in facts["followers"]] == ["reconstruct"]


def test_a_run_that_others_need_is_not_deleted(served: Served, started: list[Job]) -> None:
    with client(served) as http:
        answer = http.delete(f"{P}/run/1")
        assert answer.status_code == 422
        assert answer.json()["error"] == "runs 2 need run 1; delete them first"
        assert http.get(f"{P}/run/77").status_code == 404
        http.delete(f"{P}/run/6").raise_for_status()
    assert [job.as_typed for job in started] == ["cryoloom delete 6 --project ."]


def test_stopping_and_going_on_are_commands(served: Served, started: list[Job]) -> None:
    with client(served) as http:
        for what in ("stop", "resume"):
            assert http.post(f"{P}/{what}", json={}).json()["command"] == f"cryoloom {what} --project ."
    assert len(started) == 2
