"""References of a step, some of which apply only to a method that is chosen by a parameter.

Apart from the declaration of steps, so that commands that only read a project do not load NumPy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["CitedFor", "references_of"]


@dataclass(frozen=True, slots=True)
class CitedFor:
    """A reference that applies only if a parameter has one of these values."""

    reference: str
    parameter: str
    values: tuple[str, ...]


def references_of(
    citations: Iterable[str | CitedFor], parameters: Mapping[str, Any] | None = None
) -> tuple[str, ...]:
    """References of a step: all, or those that apply to these parameters."""
    return tuple(
        cited if isinstance(cited, str) else cited.reference
        for cited in citations
        if isinstance(cited, str) or parameters is None or parameters.get(cited.parameter) in cited.values
    )
