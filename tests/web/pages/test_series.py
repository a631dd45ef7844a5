"""The page of one series: what it says where there is none."""

from __future__ import annotations

import httpx

from makers.browser import Served

P = "/p/HIV-session"


def client(served: Served, token: str | None = None) -> httpx.Client:
    headers = {"authorization": f"token {token or served.access.owner_token}", "x-cryoloom": "1"}
    return httpx.Client(base_url=served.origin, headers=headers)


def test_a_page_says_that_a_series_is_not_there(served: Served) -> None:
    with client(served) as http:
        answer = http.get(f"{P}/series/nothing", headers={"accept": "text/html"})
    assert answer.status_code == 404
    assert "no series &#39;nothing&#39;" in answer.text
