"""Names of items as users write them: patterns with * and ?, separated by commas."""

from __future__ import annotations

import fnmatch

__all__ = ["is_named"]


def is_named(name: str, patterns: str) -> bool:
    """Whether one of the patterns matches a name."""
    words = [word.strip() for word in patterns.split(",")]
    return any(fnmatch.fnmatchcase(name, word) for word in words if word)
