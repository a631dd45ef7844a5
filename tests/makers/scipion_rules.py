"""One parameter of a protocol, converted by its rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryoloom.scipion.rule import Rule, Surroundings


def converted(
    rules: Mapping[str, Rule],
    protocol: str,
    theirs: str,
    value: Any,
    pixel: float | None = None,
    **others: Any,
) -> Any:
    """Our value; others : further parameters of the protocol."""
    _, convert = next(piece.takes[theirs] for piece in rules[protocol].pieces if theirs in piece.takes)
    return convert(value, Surroundings(others, pixel))
