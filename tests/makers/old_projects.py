"""Projects as earlier versions of cryoloom wrote them."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

__all__ = ["project_of_version_3", "project_with_choices_of_version_3"]


def project_of_version_3(folder: Path) -> Path:
    """A project of find_series, draw, choose and smooth, three series; files have the length recorded.

    The dump was written by the code before steps could gather, with the fake steps of that time.
    """
    return _restored(folder, "project_version_3.sql")


def project_with_choices_of_version_3(folder: Path) -> Path:
    """A project of find_series, draw, spot (excludes tilt 2 as a step, tilt 4 as "user") and smooth.

    Anna excluded tilts 0 and 3 of TS_01, and kept tilt 2 of TS_03, before everything was made again. After
    that she kept tilt 0 of TS_01 and excluded tilt 1 of TS_02. Run 5 smoothed TS_03 alone.
    Run 2 has a comment.
    """
    return _restored(folder, "project_with_choices_version_3.sql")


_EMPTY_STACK = struct.pack("<10i", 10, 8, 5, 2, 0, 0, 0, 10, 8, 5) + struct.pack("<3f", 25.0, 20.0, 12.5)
"""Beginning of an MRC file of five images of 10 x 8 pixels of 2.5 angstrom."""


def _restored(folder: Path, dump: str) -> Path:
    folder.mkdir()
    with closing(sqlite3.connect(folder / "project.sqlite")) as database:
        database.executescript((Path(__file__).parent / "data" / dump).read_text())
        for path, n_bytes in database.execute("SELECT path, bytes FROM files"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(_EMPTY_STACK.ljust(n_bytes, b"\0"))
    return folder
