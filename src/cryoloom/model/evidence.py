"""Values of a quantity by source, the one that was used, and the reason; stored with the item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Evidence", "Source", "evidence_from_json", "explain"]


@dataclass(frozen=True, slots=True)
class Source:
    """One source and its value, in words or as a number."""

    name: str
    says: str | float
    why_not: str = ""
    """Why its value was not used (constant, incomplete, impossible); "" if it was considered."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All sources of one quantity of a series, and the decision."""

    quantity: str
    value: str | float | None
    used: str
    """Name of the source that decided; "" if none did."""
    sources: tuple[Source, ...] = ()
    note: str = ""
    """Contradictions and the reason for the choice; "" if all agree."""

    def as_json(self) -> dict[str, Any]:
        """Plain data for a record."""
        return {
            "quantity": self.quantity,
            "value": self.value,
            "used": self.used,
            "note": self.note,
            "sources": [
                {"name": source.name, "says": source.says, "why_not": source.why_not}
                for source in self.sources
            ],
        }


def evidence_from_json(record: Iterable[Mapping[str, object]]) -> tuple[Evidence, ...]:
    """Evidence from `Evidence.as_json`; raises KeyError if it is another record."""
    found = []
    for one in record:
        sources = one["sources"]
        listed = sources if isinstance(sources, Sequence) and not isinstance(sources, str) else ()
        found.append(
            Evidence(
                str(one["quantity"]),
                _plain(one["value"]),
                str(one["used"]),
                tuple(Source(str(s["name"]), _plain(s["says"]) or "", str(s["why_not"])) for s in listed),
                str(one["note"]),
            )
        )
    return tuple(found)


def explain(evidence: Iterable[Evidence]) -> list[str]:
    """Lines for a terminal: each quantity, its value, the sources, and every contradiction."""
    lines = []
    for one in evidence:
        value = "not known" if one.value is None else _text(one.value)
        lines.append(f"{one.quantity}: {value}" + (f" (by {one.used})" if one.used else ""))
        for source in one.sources:
            mark = "*" if source.name and source.name in one.used and not source.why_not else "-"
            doubt = f"  [not counted: {source.why_not}]" if source.why_not else ""
            lines.append(f"  {mark} {source.name}: {_text(source.says)}{doubt}")
        if one.note:
            lines.append(f"  ! {one.note}")
    return lines


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _plain(value: object) -> str | float | None:
    return value if value is None or isinstance(value, str | float) else float(str(value))
