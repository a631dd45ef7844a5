"""Syntax trees of modules of this package, parsed by one thread at a time.

In CPython 3.11 threads that parse at the same time can raise SystemError (python/cpython#106905). Libraries
parse as well (NumPy when it is imported, Jinja for a number in a template), so a clash is tried again.
"""

from __future__ import annotations

import ast
import threading
import time
from pathlib import Path

__all__ = ["syntax_tree"]

_ONE_AT_A_TIME = threading.Lock()
_TRIES = 20
_PAUSE_S = 0.002
"""Chosen: the parser fails only while another thread parses, which takes some milliseconds."""


def syntax_tree(path: Path) -> ast.Module:
    """Parse a file."""
    text = path.read_text(encoding="utf-8")
    for _ in range(_TRIES - 1):
        try:
            with _ONE_AT_A_TIME:
                return ast.parse(text)
        except SystemError:
            time.sleep(_PAUSE_S)
    with _ONE_AT_A_TIME:
        return ast.parse(text)
