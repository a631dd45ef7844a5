"""Results of a step for an item, with the declaration of every figure and record beside its value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryoloom.contract.figures import Figure, Record
from cryoloom.views.numbers import NOT_MEASURABLE, with_unit

__all__ = ["Kept", "Measured", "StepResult", "step_result"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure and its value; None with a reason if it could not be measured."""

    figure: Figure
    value: float | None
    reason: str = ""

    @property
    def text(self) -> str:
        """Value with its unit, or that it is not measurable."""
        return NOT_MEASURABLE if self.value is None else with_unit(self.value, self.figure.unit)


@dataclass(frozen=True, slots=True)
class Kept:
    """A record and its plain data."""

    record: Record
    data: Any


@dataclass(frozen=True, slots=True)
class StepResult:
    """Figures and records of one step for one item. ``node`` is the step's name in its workflow."""

    node: str
    measured: tuple[Measured, ...] = ()
    kept: tuple[Kept, ...] = ()


def step_result(
    node: str,
    declared_figures: Iterable[Figure],
    declared_records: Iterable[Record],
    *,
    figures: Mapping[str, float] | None = None,
    not_measurable: Mapping[str, str] | None = None,
    records: Mapping[str, Any] | None = None,
) -> StepResult:
    """Join stored values with their declarations, in the order of the declaration.

    figures, not_measurable, records : by name, as the project stores them. A figure that an older version of
    the step made, and today's does not declare, keeps its name as title; such a record is omitted.
    """
    values = dict(figures or {})
    reasons = dict(not_measurable or {})
    stored = dict(records or {})
    known = {figure.name: figure for figure in declared_figures}
    ordered = [*known, *(name for name in (*values, *reasons) if name not in known)]
    measured = tuple(
        Measured(known.get(name, Figure(name, "", name, "")), values.get(name), reasons.get(name, ""))
        for name in dict.fromkeys(ordered)
        if name in values or name in reasons
    )
    kept = tuple(Kept(record, stored[record.name]) for record in declared_records if record.name in stored)
    return StepResult(node, measured, kept)
