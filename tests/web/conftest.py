"""A real Chromium for the tests of pages; errors in it fail the test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from makers.browser import CHROMIUM, FLAGS, Served, Window


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
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
