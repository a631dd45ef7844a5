"""Table of the values of imported quantities by source, and which source was used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryoloom.contract.figures import Record
from cryoloom.views.content import SeriesReport
from cryoloom.views.data_table import DataTable, data_table
from cryoloom.views.numbers import number_text

__all__ = ["draw_evidence"]


def draw_evidence(item: SeriesReport, record: Record, data: Any) -> tuple[DataTable, ...]:
    """One row per quantity: its value, the source that decided, the values of the others, contradictions.

    A record without evidence, of an older project, is shown as it is.
    """
    evidence = data.get("evidence") if isinstance(data, Mapping) else None
    if not evidence:
        return (data_table("Sources", record.meaning, data),)
    rows = tuple(
        (
            str(one["quantity"]),
            _said(one.get("value")),
            str(one.get("used", "")),
            "; ".join(_source(source) for source in one.get("sources", ())),
            str(one.get("note", "")),
        )
        for one in evidence
    )
    headings = ("quantity", "value", "decided by", "values by source", "note")
    return (DataTable("Sources", record.meaning, headings, rows),)


def _source(source: Mapping[str, Any]) -> str:
    doubt = f" (not counted: {source['why_not']})" if source.get("why_not") else ""
    return f"{source['name']}: {_said(source['says'])}{doubt}"


def _said(value: Any) -> str:
    if value is None:
        return "not known"
    return number_text(value) if isinstance(value, int | float) else str(value)
