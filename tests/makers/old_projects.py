"""Projects as earlier versions of cryoloom wrote them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

__all__ = ["project_of_version_3"]


def project_of_version_3(folder: Path) -> Path:
    """A project of find_series, draw, choose and smooth, three series; files have the length recorded.

    The dump was written by the code before steps could gather, with the fake steps of that time.
    """
    folder.mkdir()
    with closing(sqlite3.connect(folder / "project.sqlite")) as database:
        database.executescript((Path(__file__).parent / "data" / "project_version_3.sql").read_text())
        for path, n_bytes in database.execute("SELECT path, bytes FROM files"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(bytes(n_bytes))
    return folder
