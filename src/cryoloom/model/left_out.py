"""A step's word that an item goes no further."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LeftOut"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why an item is left out. A step gives it in place of a result; it is not a failure."""

    reason: str
