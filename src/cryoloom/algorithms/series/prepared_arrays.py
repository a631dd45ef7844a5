"""Arrays that single images are the source of, made when they are needed or found prepared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

__all__ = ["Arrays", "Prepared", "made_now"]

Arrays = Mapping[str, NDArray[Any]]
Prepared = Callable[[int, Callable[[], Arrays]], Arrays]
"""``prepared(section, make)``: the arrays of an image, which are those that ``make()`` gives, to the bit."""


def made_now(section: int, make: Callable[[], Arrays]) -> Arrays:
    """Nothing was prepared."""
    return make()
