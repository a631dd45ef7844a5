"""A server in a thread, and a real Chromium whose errors fail the test."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn

from cryoloom.web.access import Access
from cryoloom.web.app import make_app
from cryoloom.web.serve import ServeOptions, Server, listen
from cryoloom.web.site import Site

T = TypeVar("T")
WAIT_S = 90.0  # a machine of CI may be ten times as slow, and the process that knows the steps imports torch
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WHEN_DECIDED = """() => {
    const fetched = window.fetch;
    return new Promise(done => {
        window.fetch = async (...given) => {
            const answer = await fetched(...given);
            if (String(given[0]).endsWith('/decide')) {
                window.fetch = fetched;
                done(performance.now());
            }
            return answer;
        };
    });
}"""
"""JavaScript: a function that promises the moment when the next decision is answered."""


@dataclass(frozen=True)
class Served:
    """A running server."""

    origin: str
    access: Access
    site: Site

    @property
    def url(self) -> str:
        return f"{self.origin}/?token={self.access.owner_token}"


@contextmanager
def serving(site: Site, access: Access | None = None) -> Iterator[Served]:
    listening, port = listen(ServeOptions(port=0))
    access = access or Access(cookie_name=f"cryoloom_{port}")
    config = uvicorn.Config(
        make_app(site, access), log_level="warning", access_log=False, timeout_graceful_shutdown=1
    )
    server = Server(config, site)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Served(f"http://127.0.0.1:{port}", access, site)
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def client(served: Served) -> httpx.Client:
    """A client of the server as its owner, that may write."""
    headers = {"authorization": f"token {served.access.owner_token}", "x-cryoloom": "1"}
    return httpx.Client(base_url=served.origin, headers=headers, timeout=WAIT_S)


def eventually(look: Callable[[], T], fits: Callable[[T], bool] = bool) -> T:
    """What `look` gives once it fits; an error after half a minute."""
    end = time.monotonic() + WAIT_S
    while not fits(found := look()):
        assert time.monotonic() < end, f"still {found!r} after {WAIT_S:.0f} s"
        time.sleep(0.03)
    return found


def wait_until_ready(page: Any) -> None:
    """The scripts of the page have run to their end, so keys are heard."""
    page.wait_for_selector("body[data-ready]")


class Window:
    """A page of a browser, logged in; what goes wrong in it is kept."""

    def __init__(self, browser: Any, served: Served, token: str | None = None) -> None:
        self.served = served
        self.context = browser.new_context(viewport={"width": 1280, "height": 800})
        self.page = self.context.new_page()
        self.page.set_default_timeout(1000 * WAIT_S)
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        self.page.on("request", self._requested)
        self.page.goto(f"{served.origin}/?token={token or served.access.owner_token}")

    def _heard(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"console {message.type}: {message.text}")

    def _requested(self, request: Any) -> None:
        self.requests.append(request.url)
        if not request.url.startswith((self.served.origin, "data:", "blob:")):
            self.problems.append(f"request outside: {request.url}")

    def go(self, path: str) -> Any:
        """Go to an address of the server, and wait until the page hears keys."""
        self.page.goto(self.served.origin + path)
        wait_until_ready(self.page)
        return self.page

    def reload(self) -> None:
        self.page.reload()
        wait_until_ready(self.page)

    def shot(self, name: str) -> None:
        """Keep a picture where CRYOLOOM_SCREENSHOTS names a folder."""
        if folder := os.environ.get("CRYOLOOM_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png")
