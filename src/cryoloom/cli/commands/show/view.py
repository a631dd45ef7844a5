"""View files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cryoloom.cli.terminal import say

__all__ = ["view"]

PortOption = Annotated[int | None, typer.Option(help="Port; by default the first free one from 8080.")]


SocketOption = Annotated[
    Path | None, typer.Option("--socket", help="Listen on a Unix socket that only you can open.")
]


BrowserOption = Annotated[bool, typer.Option(" /--no-browser", help="Do not open a browser.")]


def view(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Movies, stacks, tomograms, maps (MRC, TIFF, EER, OME-Zarr), and files of points or angles."
        ),
    ],
    port: PortOption = None,
    socket: SocketOption = None,
    browser: BrowserOption = True,
) -> None:
    """View files in the browser, without a project, as `3dmod FILE` does."""
    from cryoloom.web.serve import ServeOptions
    from cryoloom.web.serve import serve as start

    start([], files, ServeOptions(port=port, socket_path=socket, open_browser=browser), say)
