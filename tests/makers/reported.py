"""What steps reported of a series, joined with their declarations, as the report gets it."""

from __future__ import annotations

from typing import Any

from cryoloom.contract import find_step
from cryoloom.views.step_results import StepResult, step_result


def reported(
    figures: dict[str, dict[str, float]] | None = None,
    records: dict[str, dict[str, Any]] | None = None,
    not_measurable: dict[str, dict[str, str]] | None = None,
) -> tuple[StepResult, ...]:
    """Results of steps, keyed by the name of the step."""
    figures, records, not_measurable = figures or {}, records or {}, not_measurable or {}
    return tuple(
        step_result(
            name,
            find_step(name).figures,
            find_step(name).records,
            figures=figures.get(name),
            not_measurable=not_measurable.get(name),
            records=records.get(name),
        )
        for name in dict.fromkeys([*figures, *records, *not_measurable])
    )
