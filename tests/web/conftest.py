"""A real Chromium for the tests of pages; errors in it fail the test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cryoloom.web.job import Job
from cryoloom.web.pages import ctf, new_project, particles, picks, runs
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.site import Site, open_projects
from makers.browser import CHROMIUM, FLAGS, Served, Window, serving
from makers.web_project import MadeProject, make_project


@pytest.fixture(scope="session")
def playwright() -> Iterator[Any]:
    """What starts browsers; there can be one of it."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def browser(playwright: Any) -> Iterator[Any]:
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield started
    started.close()


@pytest.fixture
def window(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Open windows: ``window(served)``. Errors of any of them fail the test."""
    opened: list[Window] = []

    def open_window(served: Served, token: str | None = None) -> Window:
        opened.append(Window(browser, served, token))
        return opened[-1]

    yield open_window
    problems = [problem for one in opened for problem in one.problems]
    for one in opened:
        one.context.close()
    assert not problems


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """Commands that pages start: noted here and not run, since a run would change the project of the test."""
    noted: list[Job] = []

    def note(project: Path, title: str, command: Sequence[str], who: str, after: int = 0) -> Job:
        noted.append(Job(len(noted) + 1, title, tuple(command), who, "", returncode=0, after=after))
        return noted[-1]

    for page in (ctf, new_project, particles, picks, runs):
        monkeypatch.setattr(page, "start_job", note)
    return noted


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeProject:
    """The project with planted faults, made once a session; tests work on copies."""
    return make_project(tmp_path_factory.mktemp("made") / "project")


@pytest.fixture(scope="module")
def made(made_once: MadeProject, tmp_path_factory: pytest.TempPathFactory) -> MadeProject:
    """A copy of the project of this module's own: its decisions are nobody else's."""
    folder = tmp_path_factory.mktemp("copy") / "HIV session"
    shutil.copytree(made_once.folder, folder)
    return MadeProject(folder, made_once.truths)


@pytest.fixture(scope="module")
def site(made: MadeProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    shelf = ImageShelf(tmp_path_factory.mktemp("levels"))
    opened = Site(open_projects([made.folder], shelf), shelf)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def served(site: Site) -> Iterator[Served]:
    """A server of that project, at ``/p/HIV-session``."""
    with serving(site) as running:
        yield running
