"""Acquisition indices as users type them: single ones, lists and ranges."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cryoloom.errors import UserInputError

__all__ = ["tilt_numbers"]

_RANGE = re.compile(r"(\d+)(?:(?:-|\.\.|:)(\d+))?")


def tilt_numbers(words: Iterable[str] | None) -> list[int]:
    """Indices of ``3 5``, ``3,5`` and ``0-27``, both ends included; anything else is a UserInputError."""
    found: list[int] = []
    for part in (part for word in words or () for part in re.split(r"[,;\s]+", word) if part):
        match = _RANGE.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise UserInputError(
                f"{part!r} is not an acquisition index; expected numbers from 0 on, or ranges such as 0-5"
            )
        found += range(first, last + 1)
    return list(dict.fromkeys(found))
