"""The outermost layer of the web application: checks of requests, and security headers of answers.

The server can start programs and delete files, so it is as powerful as a shell. Threats are other users of
the same node, web pages in the same browser (including other ports of this machine, which share its cookies),
and data from others. The rules are those of Jupyter's server with two additions: writes need a header that no
form can set, and a viewer's token can only read.
"""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cryoloom.web.access import Access, Role

__all__ = ["SECURITY_HEADERS", "Guard"]

WRITE_HEADER = "x-cryoloom"
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
        "object-src 'none'; frame-ancestors 'self'; base-uri 'none'; form-action 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "SAMEORIGIN",
}
_CHANGES_NOTHING = "/neuroglancer/state/"  # from Neuroglancer's script, which cannot send our header
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_LOGIN_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>cryoloom: token needed</title>
<body style="font:16px system-ui;background:#121418;color:#e6e8eb;max-width:36em;margin:12vh auto"> <h1
style="font-size:1.3em">This server needs its token</h1> <p>Open the address that <code>cryoloom serve</code>
printed, or enter the token that stands in it. A token is valid until the server stops.</p> <form
method="get"><input name="token" aria-label="Token" autocomplete="off" autofocus
style="font:inherit;width:100%;padding:.5em;background:#1b1f26;color:inherit;border:1px solid #444b55">
<button style="font:inherit;margin-top:1em;padding:.4em 1.2em">Open</button></form> <p><a href=""
style="color:#56b4e9">Try again</a> if a link on another page brought you here.</p> </body></html>
"""


class Guard:
    """ASGI application around the web application; every request passes it."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request and pass it on with the role of the user in its state."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # web sockets are not used and therefore refused
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                more = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in more if name not in given),
                ]
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(send_with_headers, *refusal)
            return
        role = await self._role(scope, headers, send_with_headers)
        if role is None:
            return
        changes_nothing = scope["method"] == "POST" and scope["path"].startswith(_CHANGES_NOTHING)
        if scope["method"] not in _SAFE_METHODS and not changes_nothing:
            if role != "owner":
                await _answer(send_with_headers, 403, "This link can only look: it was made for viewers.")
                return
            if WRITE_HEADER not in headers:
                await _answer(send_with_headers, 403, "A change needs the header X-Cryoloom.")
                return
        scope.setdefault("state", {})["role"] = role
        await self._app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and message for requests that are refused with any token."""
        host = headers.get("host", "")
        if sum(name == b"host" for name, _ in scope["headers"]) != 1 or not self._access.is_known_host(host):
            return 421, "This server is not known by that name; start it with --allow-host NAME."
        scheme = "https" if self._access.secure else "http"
        origin = headers.get("origin")
        if origin is not None and origin != f"{scheme}://{host}":
            return 403, "Another web page asked for this; it may not."
        if headers.get("sec-fetch-site", "none") in {"cross-site", "same-site"} and not (
            scope["method"] == "GET"
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        ):
            return 403, "Another web page asked for this; it may not."
        return None

    async def _role(self, scope: Scope, headers: dict[str, str], send: Send) -> Role | None:
        """Role of the user; None if an answer was already sent."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tokens = [value for name, value in query if name == "token"]
        if tokens and scope["method"] in _SAFE_METHODS:
            role = self._access.role_of_token(tokens[-1])
            if role is not None:
                await self._exchange(scope, query, role, send)
                return None
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "token" and (role := self._access.role_of_token(value.strip())) is not None:
            return role
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._access.cookie_name)
        except CookieError:
            cookie = None
        role = self._access.role_of_session(cookie.value) if cookie is not None else None
        if role is None:
            is_page = "text/html" in headers.get("accept", "")
            body = (
                _LOGIN_PAGE if is_page else "A token is needed: open the address that was printed at start."
            )
            await _answer(send, 401, body, "text/html" if is_page else "text/plain")
        return role

    async def _exchange(self, scope: Scope, query: list[tuple[str, str]], role: Role, send: Send) -> None:
        """Set a cookie for the token, and redirect the browser to the same address without the token."""
        rest = urlencode([(name, value) for name, value in query if name != "token"])
        # One slash only: "//host" is the address of another server.
        path = "/" + scope.get("raw_path", scope["path"].encode()).decode("latin-1").lstrip("/\\")
        flags = "; Secure" if self._access.secure else ""
        cookie = (
            f"{self._access.cookie_name}={self._access.new_session(role)}; "
            f"Path=/; HttpOnly; SameSite=Strict{flags}"
        )
        more = [
            (b"location", f"{path}{'?' + rest if rest else ''}".encode()),
            (b"set-cookie", cookie.encode()),
        ]
        await _answer(send, 303, "", "text/plain", more)


async def _answer(
    send: Send,
    status: int,
    text: str,
    kind: str = "text/plain",
    more: list[tuple[bytes, bytes]] | None = None,
) -> None:
    body = text.encode()
    headers = [
        (b"content-type", f"{kind}; charset=utf-8".encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *(more or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
