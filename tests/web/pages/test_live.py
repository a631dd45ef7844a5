"""The live page: every series, who failed, and limits."""

from __future__ import annotations

import httpx

from cryoloom.engine.live.alert_settings import (
    AlertSettings,
    alert_settings,
    keep_alert_settings,
)
from cryoloom.engine.live.session_points import SeriesPoint
from cryoloom.web.pages.live import live_facts, series_per_hour
from cryoloom.web.site import Site
from makers.browser import Served
from makers.web_project import HOSTILE, NAMES, MadeProject

P = "/p/HIV-session"


def test_live_knows_every_series_and_who_failed(site: Site) -> None:
    facts = live_facts(site.project("HIV-session"))
    assert facts["n_series"] == len(NAMES)
    assert {one["series"]: one["failed"] for one in facts["strip"]}[HOSTILE] == "align_series"
    assert {plot["title"] for plot in facts["plots"]} >= {"defocus", "residual", "tilt axis"}
    assert not facts["is_running"]
    assert facts["latest"]["series"] == "TS_04"


def test_the_latest_tomogram_is_shown(served: Served) -> None:
    headers = {"authorization": f"token {served.access.owner_token}"}
    with httpx.Client(base_url=served.origin, headers=headers) as http:
        latest = http.get(f"{P}/live.json").json()["latest"]
        assert http.get(latest["page"]).status_code == 200
        assert http.get(latest["picture"]).headers["content-type"] == "image/jpeg"


def test_where_alerts_go_is_not_for_the_browser(served: Served, made: MadeProject) -> None:
    """Programs and addresses are given on the command line only, and what may be secret is not shown."""
    secret = "https://hooks.example.org/T0/secret"
    keep_alert_settings(made.folder, AlertSettings(web_hook=secret, command=("mail", "-s", "x", "anna")))
    headers = {"authorization": f"token {served.access.owner_token}", "x-cryoloom": "1"}
    with httpx.Client(base_url=served.origin, headers=headers) as http:
        limit = {"figure": "tilt_axis_deg", "low": 80.0, "high": None}
        assert http.post(f"{P}/alerts/limits", json={**limit, "web_hook": "http://x"}).status_code == 422
        assert http.post(f"{P}/alerts/limits", json={**limit, "low": 90.0, "high": 80.0}).status_code == 422
        assert http.post(f"{P}/alerts/limits", json={**limit, "figure": "no_such"}).status_code == 422
        answer = http.post(f"{P}/alerts/limits", json=limit)
        assert answer.status_code == 200
        assert [one["name"] for one in answer.json()["channels"]] == ["mail", "hooks.example.org"]
        assert "secret" not in answer.text + http.get(f"{P}/live").text
    assert alert_settings(made.folder).web_hook == secret
    assert alert_settings(made.folder).limits["tilt_axis_deg"].low == 80.0
    keep_alert_settings(made.folder, AlertSettings())


def test_a_rate_is_given_once_there_are_series_to_tell_it() -> None:
    def begun(*seconds: float) -> list[SeriesPoint]:
        return [SeriesPoint(f"TS_{i}", 1e9 + s, "", 0, None, {}) for i, s in enumerate(seconds)]

    assert series_per_hour(begun(0.0, 900.0, 1800.0)) == 4.0
    assert series_per_hour(begun(0.0, 2.5)) is None  # found together: 1425 an hour
    assert series_per_hour(begun(0.0, 1.0, 2.0)) is None
