"""Judged series are kept while nothing about them changes, and read again where something does."""

from __future__ import annotations

import pytest

from cryoloom.store.decisions import Author, Change
from cryoloom.web import review_index
from cryoloom.web.review_index import ReviewIndex, open_tilts
from cryoloom.web.site import Site
from makers.browser import eventually
from makers.web_project import BAD_CTF, DARK, MISPLACED, NAMES, SHIFTED


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of series in the order in which they are read."""
    names: list[str] = []
    judge = review_index.judged_series

    def noted(view: object) -> object:
        one = judge(view)  # type: ignore[arg-type]
        names.append(one.name)
        return one

    monkeypatch.setattr(review_index, "judged_series", noted)
    return names


def test_every_series_is_read_once_until_it_is_decided_on(site: Site, read: list[str]) -> None:
    project = site.project("HIV-session")
    index = ReviewIndex(project)
    assert set(index.complete()) == set(NAMES)
    assert index.n_series() == len(NAMES)
    assert sorted(read) == sorted(NAMES)
    index.complete()
    assert len(read) == len(NAMES)
    before = index.known()["TS_01"]
    project.decide([Change("tilt", "TS_01", "3", {"keep": False})], Author("anna"), "ice")
    found = eventually(lambda: index.complete().get("TS_01"), lambda one: one is not None)
    assert read[len(NAMES) :] == ["TS_01"]
    assert (before.n_excluded, found.n_excluded) == (0, 1)


def test_open_doubts_come_first_and_the_worst_of_them(site: Site) -> None:
    doubted = open_tilts(list(ReviewIndex(site.project("HIV-session")).complete().values()))
    places = [(one.name, tilt.row.acquisition_index) for one, tilt in doubted]
    assert places[:2] == [DARK, SHIFTED]
    assert set(places[2:]) == {BAD_CTF, (MISPLACED[0], MISPLACED[2])}


def test_many_series_are_read_by_another_process(
    site: Site, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review_index, "_MOST_HERE", 2)
    asked: list[list[str]] = []
    elsewhere = review_index.judged_elsewhere

    def noted(folder: object, names: list[str]) -> object:
        asked.append(sorted(names))
        return elsewhere(folder, names)  # type: ignore[arg-type]

    monkeypatch.setattr(review_index, "judged_elsewhere", noted)
    found = ReviewIndex(site.project("HIV-session")).complete()
    assert set(found) == set(NAMES)
    assert asked == [sorted(NAMES)]
    assert read == []
