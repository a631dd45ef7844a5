"""Input and output types of steps, by name, to find which output another step can use."""

from __future__ import annotations

from cryoloom.contract import find_step
from cryoloom.contract.step import kind_of

__all__ = ["further_roles", "needed_kind", "output_of"]


def needed_kind(step: str, role: str) -> str | None:
    """Type of a step's input; None if the step has no such input or is not known."""
    known = find_step(step)
    kind = known.needs if role == "input" else known.also_needs.get(role)
    return None if kind is None else kind_of(kind).__name__


def further_roles(step: str) -> tuple[str, ...]:
    """Roles of the further inputs that a step needs."""
    return tuple(find_step(step).also_needs)


def output_of(step: str, needed: str | None) -> str:
    """Name of the output with the needed type, as ".name"; "" for the main output."""
    kinds = find_step(step).given_kinds
    if needed is None or kinds[""] == needed:
        return ""
    return next((f".{name}" for name, kind in kinds.items() if name and kind == needed), "")
