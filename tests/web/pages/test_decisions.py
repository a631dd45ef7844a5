"""Undo and redo over HTTP, and the list of decisions."""

from __future__ import annotations

from makers.browser import Served, client

P = "/p/HIV-session"


def test_what_is_undone_says_so_and_comes_back(served: Served) -> None:
    change = {"kind": "tilt", "item": "TS_01", "target": 5, "value": {"keep": False}}
    with client(served) as http:
        sent = {"changes": [change], "why": "ice", "page": "series"}
        made = http.post(f"{P}/decide", json=sent).json()["decisions"]
        assert [one["text"] for one in made] == ["left out tilt 5 of TS_01: ice"]
        assert http.post(f"{P}/undo", json={}).json()["text"] == "left out tilt 5 of TS_01: ice"
        newest = http.get(f"{P}/decisions.json").json()
        assert newest[1]["is_undone"]
        http.post(f"{P}/redo", json={}).raise_for_status()
        assert not http.get(f"{P}/decisions.json").json()[2]["is_undone"]


def test_nothing_to_undo_is_a_sentence(served: Served) -> None:
    with client(served) as http:
        for _ in range(10):
            answer = http.post(f"{P}/undo", json={})
            if answer.status_code != 200:
                break
        assert answer.status_code == 422
        assert "undo" in answer.json()["error"]
