"""Start of the server: address, tokens, socket, and the text printed for the user."""

from __future__ import annotations

import contextlib
import gc
import getpass
import logging
import os
import socket
import stat
import sys
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import uvicorn

from cryoloom.engine.live.alerts import AlertWatch
from cryoloom.errors import TransientError, UserInputError
from cryoloom.store.names import FILE_NAME
from cryoloom.store.private_file import write_private
from cryoloom.web.access import Access, read_token_file
from cryoloom.web.app import make_app
from cryoloom.web.pictures.files_view import FilesView
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.roots import Roots
from cryoloom.web.site import Site, open_projects

__all__ = ["ServeOptions", "Server", "find_projects", "listen", "serve", "short_pauses"]

_FIRST_PORT, _N_PORTS = 8080, 40
"""Chosen: usual port of local servers, and the number of ports that are tried."""
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_DEEPEST = 3
"""Chosen: depth of folders in which projects are searched."""


@dataclass(frozen=True)
class ServeOptions:
    """Address to listen on, and access."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None for the first free port from 8080."""
    socket_path: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    certificate: Path | None = None
    certificate_key: Path | None = None
    behind_proxy: bool = False
    """Whether a proxy in front of the server uses TLS."""
    token_file: Path | None = None
    roots: tuple[Path, ...] = ()
    """Folders from which raw data can be chosen; by default those with the projects."""
    open_browser: bool = True

    def check(self) -> None:
        """Raise UserInputError for options with which others could read the traffic."""
        if self.host not in _LOOPBACK and self.socket_path is None:
            if not self.allowed_hosts:
                raise UserInputError(
                    f"--host {self.host} lets other machines in; say by which name: --allow-host NAME. "
                    "For one user an ssh tunnel is simpler: leave --host out, and use the command it prints"
                )
            if self.certificate is None and not self.behind_proxy:
                raise UserInputError(
                    f"--host {self.host} without TLS would send the token readable over the network; "
                    "give --certificate FILE, or --behind-proxy if a proxy does TLS"
                )


def find_projects(folder: Path) -> list[Path]:
    """Projects in a folder and up to three folders below it, by name."""
    found: list[Path] = []
    waiting = [(folder, 0)]
    while waiting:
        here, depth = waiting.pop()
        if (here / FILE_NAME).is_file():
            found.append(here)
            continue
        if depth < _DEEPEST:
            with contextlib.suppress(OSError):
                waiting += [
                    (entry, depth + 1)
                    for entry in here.iterdir()
                    if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith(".")
                ]
    return sorted(found)


class Server(uvicorn.Server):
    """Server that ends the streams of pages when it stops, instead of waiting for them."""

    def __init__(self, config: uvicorn.Config, site: Site) -> None:
        super().__init__(config)
        self._site = site

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop."""
        for watcher in self._site.watchers.values():
            watcher.end_streams()
        # Work that is not finished after the grace period is cancelled without an error message.
        log = logging.getLogger("uvicorn.error")
        level = log.level
        log.setLevel(logging.CRITICAL)
        try:
            await super().shutdown(sockets)
        finally:
            log.setLevel(level)


def serve(
    projects: Sequence[Path], files: Sequence[Path], options: ServeOptions, say: Callable[[str], None]
) -> None:
    """Serve until interrupted. Raises UserInputError for invalid options or files."""
    options.check()
    short_pauses()
    shelf = ImageShelf()
    opened = FilesView(files, shelf) if files else None
    roots = options.roots or tuple(dict.fromkeys(project.parent for project in projects))
    site = Site(open_projects(projects, shelf), shelf, opened, Roots(roots))
    site.catalogue.prepare()
    listening, port = listen(options)
    access = _access(options, port)
    config = uvicorn.Config(
        make_app(site, access),
        log_level="warning",
        access_log=False,  # addresses can contain a token
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.certificate_key,
    )
    url = _url(options, port, access)
    address_file = _address_file(projects, url)
    try:
        _tell(say, url, access, options, port)
        if options.open_browser and options.socket_path is None and _has_display():
            webbrowser.open(url)
        with contextlib.ExitStack() as watching:
            for project in projects:
                watching.enter_context(AlertWatch(project))
            Server(config, site).run(sockets=[listening])
    finally:
        if address_file is not None:
            address_file.unlink(missing_ok=True)
        if options.socket_path is not None:
            options.socket_path.unlink(missing_ok=True)
        site.close()


def short_pauses() -> None:
    """Shorten pauses by garbage collection and thread switches; only for the process of a server.

    With thousands of series a full garbage collection stops every thread for half a second and finds nothing,
    because reference counts free the objects of pages. A computing thread yields after a millisecond.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 10_000)
    sys.setswitchinterval(0.001)


def _access(options: ServeOptions, port: int | None) -> Access:
    access = Access(
        cookie_name=f"cryoloom_{port or 'socket'}",
        allowed_hosts=frozenset(name.lower() for name in options.allowed_hosts),
        secure=options.certificate is not None or options.behind_proxy,
    )
    if options.token_file is None:
        return access
    token = read_token_file(options.token_file)
    return replace(access, owner_token=token, viewer_token=access.derived_token(token))


def listen(options: ServeOptions) -> tuple[socket.socket, int | None]:
    """A listening socket and its port; None for a Unix socket, which only its owner can open."""
    if options.socket_path is not None:
        path = options.socket_path
        if path.exists():
            if not stat.S_ISSOCK(path.stat().st_mode):
                raise UserInputError(f"{path} exists and is not a socket; choose another path")
            path.unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listening.bind(str(path))
        except OSError as error:
            raise UserInputError(f"no socket can be made at {path}: {error.strerror}") from error
        finally:
            os.umask(before)
        listening.listen(128)
        return listening, None
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    ports = [options.port] if options.port is not None else list(range(_FIRST_PORT, _FIRST_PORT + _N_PORTS))
    for port in ports:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((options.host, port))
        except OSError as error:
            listening.close()
            failure = error
            continue
        listening.listen(128)
        return listening, int(listening.getsockname()[1])
    raise TransientError(f"cannot listen on {options.host}, port {ports[0]}: {failure.strerror}; give --port")


def _url(options: ServeOptions, port: int | None, access: Access) -> str:
    scheme = "https" if access.secure else "http"
    if options.behind_proxy and options.allowed_hosts:
        return f"https://{options.allowed_hosts[0]}/?token={access.owner_token}"
    name = "127.0.0.1" if options.host in _LOOPBACK or port is None else options.allowed_hosts[0]
    return f"{scheme}://{name}:{port or 8080}/?token={access.owner_token}"


def _address_file(projects: Sequence[Path], url: str) -> Path | None:
    """Write the address into the first project for `serve --list`; only its owner can read it."""
    if not projects:
        return None
    path = projects[0] / ".serve"
    try:
        write_private(path, url + "\n")
    except OSError:
        return None  # projects of other users can be viewed without it
    return path


def _tell(
    say: Callable[[str], None], url: str, access: Access, options: ServeOptions, port: int | None
) -> None:
    say(f"cryoloom is at {url}")
    say(f"to look only:  {url.replace(access.owner_token, access.viewer_token)}")
    machine = f"{getpass.getuser()}@{socket.getfqdn()}"
    if options.socket_path is not None:
        say(f"from your machine:  ssh -L 8080:{options.socket_path.absolute()} {machine}")
    elif "SSH_CONNECTION" in os.environ and options.host in _LOOPBACK:
        say(f"from your machine:  ssh -L {port}:127.0.0.1:{port} {machine}")
    say("Ctrl-C stops it; runs that were started go on")


def _has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
