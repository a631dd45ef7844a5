"""Open projects in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cryoloom.cli.terminal import say

__all__ = ["serve"]

HostOption = Annotated[str, typer.Option(help="Address to listen on.")]


PortOption = Annotated[int | None, typer.Option(help="Port; by default the first free one from 8080.")]


SocketOption = Annotated[
    Path | None, typer.Option("--socket", help="Listen on a Unix socket that only you can open.")
]


AllowHostOption = Annotated[
    list[str], typer.Option("--allow-host", help="Host name that browsers may use; can be repeated.")
]


CertificateOption = Annotated[Path | None, typer.Option(help="TLS certificate (PEM).")]


KeyOption = Annotated[Path | None, typer.Option("--certificate-key", help="Its private key.")]


ProxyOption = Annotated[bool, typer.Option("--behind-proxy", help="A proxy in front terminates TLS.")]


TokenOption = Annotated[
    Path | None,
    typer.Option("--token-file", help="File with a token that is kept between servers (mode 0600)."),
]


BrowserOption = Annotated[bool, typer.Option(" /--no-browser", help="Do not open a browser.")]


def serve(
    projects: Annotated[
        list[Path] | None, typer.Argument(help="Projects; by default those in this folder and below it.")
    ] = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = None,
    socket: SocketOption = None,
    allow_host: AllowHostOption = [],  # noqa: B006 - Typer reads it and nothing changes it
    certificate: CertificateOption = None,
    certificate_key: KeyOption = None,
    behind_proxy: ProxyOption = False,
    token_file: TokenOption = None,
    root: Annotated[
        list[Path], typer.Option(help="Folder from which raw data may be chosen; can be repeated.")
    ] = [],  # noqa: B006
    browser: BrowserOption = True,
    list_addresses: Annotated[
        bool, typer.Option("--list", help="List the addresses of servers that are running here.")
    ] = False,
) -> None:
    """Open projects in the browser: view, check, correct, pick and run."""
    from cryoloom.web.serve import ServeOptions, find_projects
    from cryoloom.web.serve import serve as start

    found = [path.absolute() for path in projects] if projects else find_projects(Path.cwd())
    if list_addresses:
        for project in found:
            if (project / ".serve").is_file():
                say(f"{project}  {(project / '.serve').read_text().strip()}")
        return
    options = ServeOptions(
        host=host,
        port=port,
        socket_path=socket,
        allowed_hosts=tuple(allow_host),
        certificate=certificate,
        certificate_key=certificate_key,
        behind_proxy=behind_proxy,
        token_file=token_file,
        roots=tuple(path.absolute() for path in root),
        open_browser=browser,
    )
    start(found, [], options, say)
