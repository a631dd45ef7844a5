"""Every rule of the guard, one test each, on the application as it is served."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.web.access import Access
from cryoloom.web.app import make_app
from cryoloom.web.guard import SECURITY_HEADERS
from cryoloom.web.pictures.files_view import FilesView
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.site import Site
from makers.browser import serving
from makers.loops import in_a_loop_of_its_own

HOST = "127.0.0.1:8080"
ACCESS = Access(cookie_name="cryoloom_8080", allowed_hosts=frozenset({"tomo.example.org"}))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("guard")
    rng = np.random.default_rng(5)
    write_mrc(folder / "v.mrc", rng.standard_normal((6, 20, 24)).astype(np.float32), 10.0, kind="volume")
    shelf = ImageShelf(folder / "cache")
    made = Site({}, shelf, FilesView([folder / "v.mrc"], shelf))
    yield made
    made.close()


def ask(
    site: Site, path: str, method: str = "GET", access: Access = ACCESS, **headers: str
) -> httpx.Response:
    """One request with these headers; ``host`` is that of this machine unless given, "" leaves it out."""

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(make_app(site, access))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, path, headers={"host": HOST} | named)

    return in_a_loop_of_its_own(run())


def login(access: Access = ACCESS, role: Any = "owner") -> str:
    return f"{access.cookie_name}={access.new_session(role)}"


PATHS = ("/", "/files/0", "/static/app.js", "/files/image/0/image/info.json", "/p/x/events", "/nothing")


@pytest.mark.parametrize("path", PATHS)
def test_strangers_get_nothing_anywhere(site: Site, path: str) -> None:
    assert ask(site, path).status_code == 401
    assert ask(site, path, cookie="cryoloom_8080=owner.x.y").status_code == 401
    assert ask(site, path, authorization="token wrong").status_code == 401


def routes_of(site: Site) -> list[tuple[str, str]]:
    """Method and an address of every route there is, with words in the place of its parameters."""
    guard: Any = make_app(site, ACCESS)
    found = set()
    waiting = list(guard._app.routes)
    while waiting:
        route = waiting.pop()
        waiting += getattr(getattr(route, "original_router", None), "routes", [])
        if path := getattr(route, "path", ""):
            address = re.sub(r"\{[^}]*\}", "1", path)
            found |= {(method, address) for method in getattr(route, "methods", None) or {"GET"}}
    return sorted(found)


def test_every_route_is_behind_the_guard(site: Site) -> None:
    """Strangers, foreign names, foreign pages, and viewers who write: refused on all addresses there are."""
    routes = routes_of(site)
    assert len(routes) > 60
    assert {method for method, _ in routes} == {"GET", "POST", "DELETE"}

    async def statuses(method: str, path: str) -> list[int]:
        ours = {"host": HOST, "cookie": login(), "x-cryoloom": "1"}
        asked = (
            {"host": HOST},
            ours | {"host": "evil.example"},
            ours | {"origin": "http://127.0.0.1:9999"},
            ours | {"sec-fetch-site": "cross-site"},
            ours | {"cookie": login(role="viewer")},
            {"host": HOST, "cookie": login()},
        )
        transport = httpx.ASGITransport(make_app(site, ACCESS))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            writes = 6 if method in {"POST", "DELETE"} else 4
            return [(await client.request(method, path, headers=h)).status_code for h in asked[:writes]]

    async def all_of_them() -> dict[tuple[str, str], list[int]]:
        return {route: await statuses(*route) for route in routes}

    expected = [401, 421, 403, 403, 403, 403]
    answers = in_a_loop_of_its_own(all_of_them())
    wrong = {route: got for route, got in answers.items() if got != expected[: len(got)]}
    # Neuroglancer's own script posts here without our header, viewers too; nothing is kept of it.
    assert wrong.pop(("POST", "/neuroglancer/state/1")) == [401, 421, 403, 403, 422, 422]
    assert not wrong


def test_a_browser_without_token_gets_a_login_page(site: Site) -> None:
    answer = ask(site, "/", accept="text/html")
    assert answer.status_code == 401
    assert 'name="token"' in answer.text


def test_the_token_becomes_a_cookie_and_leaves_the_address(site: Site) -> None:
    answer = ask(site, f"/files/0?token={ACCESS.owner_token}&axis=z")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/files/0?axis=z"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("cryoloom_8080=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert ACCESS.owner_token not in cookie
    session = cookie.split(";")[0]
    assert ask(site, "/files/0", cookie=session).status_code == 200


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example/"])
def test_the_token_never_sends_to_another_server(site: Site, path: str) -> None:
    answer = ask(site, f"http://{HOST}{path}?token={ACCESS.owner_token}")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/evil.example")


def test_the_token_may_come_in_a_header(site: Site) -> None:
    assert ask(site, "/files/0", authorization=f"token {ACCESS.owner_token}").status_code == 200


def test_a_cookie_of_another_token_is_worth_nothing(site: Site) -> None:
    other = Access(cookie_name=ACCESS.cookie_name)
    assert ask(site, "/files/0", cookie=login(other)).status_code == 401


def test_a_viewer_cannot_make_an_owners_cookie_of_his(site: Site) -> None:
    session = ACCESS.new_session("viewer").replace("viewer.", "owner.", 1)
    assert ask(site, "/files/0", cookie=f"{ACCESS.cookie_name}={session}").status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "localhost:x"]
)
def test_a_foreign_host_is_refused(site: Site, host: str) -> None:
    assert ask(site, "/files/0", cookie=login(), host=host).status_code == 421


@pytest.mark.parametrize(
    "host", ["localhost:9000", "127.0.0.1", "[::1]:8080", "tomo.example.org", "Localhost:1"]
)
def test_names_of_this_machine_and_allowed_ones_are_known(site: Site, host: str) -> None:
    assert ask(site, "/files/0", cookie=login(), host=host).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:9999", "https://127.0.0.1:8080", "null", "http://evil.example"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_origin_is_refused_though_it_has_the_cookie(site: Site, origin: str, method: str) -> None:
    answer = ask(site, "/files/0", method, cookie=login(), origin=origin, x_cryoloom="1")
    assert answer.status_code == 403


def test_our_own_origin_is_not(site: Site) -> None:
    assert ask(site, "/files/0", cookie=login(), origin=f"http://{HOST}").status_code == 200


@pytest.mark.parametrize("where", ["cross-site", "same-site"])
def test_requests_other_pages_make_are_refused_but_a_link_may_be_followed(site: Site, where: str) -> None:
    asked = {"cookie": login(), "sec_fetch_site": where}
    assert ask(site, "/files/image/0/image/info.json", **asked).status_code == 403
    followed = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert ask(site, "/files/0", **asked, **followed).status_code == 200
    framed = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}
    assert ask(site, "/files/0", **asked, **framed).status_code == 403


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH"])
def test_a_write_needs_our_header_and_an_owner(site: Site, method: str) -> None:
    assert ask(site, "/p/x/decide", method, cookie=login()).status_code == 403
    viewer = login(role="viewer")
    assert ask(site, "/p/x/decide", method, cookie=viewer, x_cryoloom="1").status_code == 403
    passed = ask(site, "/p/x/decide", method, cookie=login(), x_cryoloom="1")
    assert passed.status_code in {404, 405, 422}  # it went through to the application, which has no project


def test_a_viewer_can_look(site: Site) -> None:
    assert ask(site, "/files/0", cookie=login(role="viewer")).status_code == 200


@pytest.mark.parametrize("path", ["/", "/files/0", "/static/app.js", "/nothing"])
@pytest.mark.parametrize("cookie", [True, False])
def test_every_answer_says_what_the_browser_may_do(site: Site, path: str, cookie: bool) -> None:
    answer = ask(site, path, **({"cookie": login()} if cookie else {}))
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name] == value
    policy = SECURITY_HEADERS["content-security-policy"]
    assert "unsafe-eval" not in policy
    assert "script-src" not in policy  # so that of default-src counts: our own files only, nothing inline


def test_web_sockets_are_refused(site: Site) -> None:
    sent: list[Any] = []

    async def open_socket() -> None:
        scope = {"type": "websocket", "path": "/", "headers": [(b"host", HOST.encode())], "query_string": b""}

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await make_app(site, ACCESS)(scope, receive, send)

    in_a_loop_of_its_own(open_socket())
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/a%00b",
    ],
)
def test_paths_do_not_leave_the_static_folder(site: Site, path: str) -> None:
    assert ask(site, path, cookie=login()).status_code in {400, 404}


@pytest.mark.parametrize("number", ["1", "-1", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd"])
def test_files_are_named_by_number_only(site: Site, number: str) -> None:
    for path in (f"/files/{number}", f"/files/image/{number}/image/info.json"):
        assert ask(site, path, cookie=login()).status_code in {404, 422}


def test_the_cookie_is_secure_under_tls(site: Site) -> None:
    access = Access(cookie_name="c", secure=True)
    answer = ask(site, f"/?token={access.owner_token}", access=access)
    assert answer.headers["set-cookie"].endswith("; Secure")
    assert (
        ask(site, "/files/0", access=access, cookie=login(access), origin=f"https://{HOST}").status_code
        == 200
    )


def test_the_token_is_in_no_log(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    with serving(site) as served:
        assert httpx.get(served.url, follow_redirects=True).status_code == 200
        assert httpx.get(f"{served.origin}/?token=wrong").status_code == 401
    out, err = capfd.readouterr()
    assert served.access.owner_token not in out + err
    assert served.access.owner_token not in repr(served.access)


def test_sessions_live_as_long_as_their_token(site: Site) -> None:
    """With a token file a restarted server knows its browsers again."""
    first, again = (Access(owner_token="a" * 40, cookie_name="c") for _ in range(2))
    assert ask(site, "/files/0", access=again, cookie=login(first)).status_code == 200
