"""Figures of two runs side by side, as a table of text: an outside program's next to the native step's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryoloom.contract.figures import Figure
from cryoloom.views.data_table import DataTable
from cryoloom.views.numbers import NOT_MEASURABLE, with_unit

__all__ = ["MOST_ITEMS", "ComparedRuns", "side_by_side_table"]

MOST_ITEMS = 30
"""With more items than this the table has medians only: rows of every item hide them."""
_DASH = "\u2013"
_NO_FIGURE = Figure("", "", "", "")

Pair = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class ComparedRuns:
    """Two runs and what they reported. Every pair is in the order (native, program)."""

    names: tuple[str, str]
    """Names of the runs, as `cryoloom compare` takes them."""
    made_by: tuple[str, str]
    """"native", or the programs that did the work and their versions."""
    same_input: bool
    medians: Mapping[str, Pair]
    """Medians by figure, over the items that both runs have."""
    figures: Mapping[str, Mapping[str, Pair]]
    """Figures by item and name."""
    not_measurable: Mapping[str, Mapping[str, tuple[str, str]]]
    """Reasons by item and figure; "" if there is none."""
    declared: Mapping[str, Figure]
    states: Mapping[str, tuple[str, str]]
    seconds: Pair = (None, None)
    """Median time of the items that both runs finished."""


def side_by_side_table(compared: ComparedRuns) -> DataTable:
    """Table of the medians and, for few items, of every item. The difference is program minus native."""
    items = tuple(compared.figures)
    rows: list[tuple[str, ...]] = []
    if len(items) > 1:  # the median of one item is its own figure
        rows += [_row("median", compared, name, pair) for name, pair in compared.medians.items()]
    if compared.seconds != (None, None):
        over = "median" if len(items) > 1 else items[0]
        rows.append((over, "Time", *_texts(compared.seconds, "s"), _difference(compared.seconds, "s")))
    for item in items if len(items) <= MOST_ITEMS else ():
        if compared.states[item] != ("done", "done"):
            rows.append((item, "State", *compared.states[item], ""))
        rows += [_row(item, compared, name, pair) for name, pair in compared.figures[item].items()]
    first, second = (f"{n} ({by})" for n, by in zip(compared.names, compared.made_by, strict=True))
    return DataTable(
        title=f"{compared.names[1]} and {compared.names[0]}",
        caption=_caption(compared),
        headings=("Item", "Figure", first, second, "Difference"),
        rows=tuple(rows),
    )


def _caption(compared: ComparedRuns) -> str:
    first, second = compared.names
    parts = [
        "The difference is the program's value minus the native one. A dash: the step has no such figure."
    ]
    if not compared.same_input:
        parts.append("The two runs had different inputs, so a difference may come from an earlier step.")
    if len(compared.figures) > MOST_ITEMS:
        unfinished = sum(states != ("done", "done") for states in compared.states.values())
        if unfinished:
            parts.append(f"{unfinished} items are not done in both runs.")
        parts.append(f"For every item: cryoloom compare --project DIR {first} {second}")
    return " ".join(parts)


def _row(item: str, compared: ComparedRuns, name: str, pair: Pair) -> tuple[str, ...]:
    figure = compared.declared.get(name, _NO_FIGURE)
    reasons = compared.not_measurable.get(item, {}).get(name, ("", ""))
    texts = [
        NOT_MEASURABLE if reason else text
        for text, reason in zip(_texts(pair, figure.unit), reasons, strict=True)
    ]
    return (item, figure.title or name, *texts, _difference(pair, figure.unit))


def _texts(pair: Pair, unit: str) -> tuple[str, ...]:
    return tuple(_DASH if value is None else with_unit(value, unit) for value in pair)


def _difference(pair: Pair, unit: str) -> str:
    first, second = pair
    if first is None or second is None:
        return ""
    text = with_unit(second - first, unit)
    return f"+{text}" if second > first else text
