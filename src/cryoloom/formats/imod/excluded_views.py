"""Lists of views to leave out, as Scipion's protocol "imod - exclude views" reads them.

One line for a series: its name, then views and ranges of views: ``TS_01 1,38-41``. A view is counted as IMOD
counts the images of an ordered stack: 1 is the lowest tilt.
"""

from __future__ import annotations

import re
from pathlib import Path

from cryoloom.errors import UserInputError
from cryoloom.formats.imod.commands import parse_list

__all__ = ["read_excluded_views"]

_VIEWS = re.compile(r"\d+(-\d+)?([\s,]+\d+(-\d+)?)*")
_MOST_VIEWS = 1000
"""No tilt series has so many; a larger number is an error of writing, such as a lost comma."""


def read_excluded_views(path: Path) -> dict[str, tuple[int, ...]]:
    """Views (1 is the lowest tilt) to leave out, by name of the series; empty lines and ``#`` are skipped.

    Raises UserInputError with the line that cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserInputError(f"the list of views {path} cannot be read as text: {error}") from error
    found: dict[str, set[int]] = {}
    for number, line in enumerate(lines, start=1):
        name, _, views = line.partition("#")[0].strip().replace("\t", " ").partition(" ")
        if name:
            found.setdefault(name, set()).update(_views(views.strip(), f"{path}, line {number}"))
    return {name: tuple(sorted(views)) for name, views in found.items()}


def _views(text: str, where: str) -> list[int]:
    if not _VIEWS.fullmatch(text):
        raise UserInputError(
            f"{where}: got {text!r} after the name of the series; expected views such as 1,38-41"
        )
    views = parse_list(text)
    if not views or min(views) < 1 or max(views) > _MOST_VIEWS:
        raise UserInputError(
            f"{where}: got the views {text}; expected 1 (the lowest tilt) or more, the lower one first"
        )
    return views
