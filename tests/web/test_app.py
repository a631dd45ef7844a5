"""Errors of every kind are answered as one sentence: as data to scripts, as a page to people."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from cryoloom.errors import DataUnfitError, TransientError, UserInputError
from cryoloom.web.access import Access
from cryoloom.web.app import make_app
from cryoloom.web.site import Site
from makers.loops import in_a_loop_of_its_own

P = "/p/HIV-session"
ACCESS = Access()


Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(site: Site) -> Ask:
    """Ask the application itself, as its owner."""
    headers = {"authorization": f"token {ACCESS.owner_token}", "x-cryoloom": "1"}
    transport = httpx.ASGITransport(make_app(site, ACCESS), raise_app_exceptions=False)

    def answer(path: str, method: str = "GET", accept: str = "*/*", json: Any = None) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1", headers=headers
            ) as http:
                return await http.request(method, path, headers={"accept": accept}, json=json)

        return in_a_loop_of_its_own(send())

    return answer


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (UserInputError("there is no such series"), 404, "there is no such series"),
        (DataUnfitError("the file is empty", n=0), 422, "the file is empty (n=0)"),
        (TransientError("the disk is full"), 503, "the disk is full"),
        (sqlite3.OperationalError("disk I/O error"), 503, "does not answer: disk I/O error. Try again."),
        (OSError(5, "Input/output error"), 503, "does not answer: Input/output error. Try again."),
    ],
)
def test_a_failure_has_its_sentence_and_status(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, words: str
) -> None:
    def fail(*given: object) -> None:
        raise error

    monkeypatch.setattr("cryoloom.web.pages.review.review_facts", fail)
    answer = ask(f"{P}/review.json")
    assert answer.status_code == status
    assert words in answer.json()["error"]
    page = ask(f"{P}/review", accept="text/html")
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert words.replace("'", "&#39;") in page.text


def test_addresses_that_are_not_there_or_used_otherwise(ask: Ask) -> None:
    assert ask("/nowhere").json() == {"error": "There is no such page."}
    assert ask("/nowhere").status_code == 404
    assert ask(f"{P}/review.json", "DELETE").json() == {"error": "This address cannot be used that way."}
    assert "no project" in ask("/p/other/review.json").json()["error"]
    assert ask("/openapi.json").status_code == ask("/docs").status_code == 404


def test_a_request_that_cannot_be_right_names_its_field(ask: Ask) -> None:
    answer = ask(f"{P}/alerts/limits", "POST", json={"figure": 3})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("The request cannot be right: ")
    assert "figure" in answer.json()["error"]


def test_a_wrong_request_to_change_something_is_no_missing_page(ask: Ask) -> None:
    answer = ask(f"{P}/picks/use", "POST", json={"set": "none", "run": 6})
    assert answer.status_code == 422
    assert "no picks" in answer.json()["error"]
