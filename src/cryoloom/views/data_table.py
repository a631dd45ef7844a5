"""Plain data of a record as the rows of a table, for every record without a drawing of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryoloom.views.numbers import number_text

__all__ = ["DataTable", "data_table"]

MOST_LISTED = 12
"""Longest list that is written out; a longer one is summarised by its length and range."""
MOST_ROWS = 60
"""Chosen: what a page shows of a record."""


@dataclass(frozen=True, slots=True)
class DataTable:
    """Rows of text under a title, with a caption. Without headings a row is a name and its value."""

    title: str
    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def data_table(title: str, caption: str, data: Any) -> DataTable:
    """Table of any plain data: a list of mappings by its keys, everything else as names and values."""
    if _is_list(data) and data and all(isinstance(entry, Mapping) for entry in data):
        headings = tuple(dict.fromkeys(str(key) for entry in data for key in entry))
        rows = tuple(tuple(_text(entry.get(key)) for key in headings) for entry in data[:MOST_ROWS])
        return DataTable(title, caption, tuple(_words(key) for key in headings), rows)
    rows = tuple(_named_values("", data))
    return DataTable(title, caption, (), rows[:MOST_ROWS])


def _named_values(name: str, data: Any) -> Iterator[tuple[str, str]]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _named_values(f"{name}, {_words(key)}" if name else _words(key), value)
    elif _is_list(data) and data and all(isinstance(entry, Mapping) for entry in data):
        for number, entry in enumerate(data, 1):
            yield from _named_values(f"{name} {number}".strip(), entry)
    else:
        yield name, _text(data)


def _words(key: object) -> str:
    return str(key).replace("_", " ")


def _is_list(data: Any) -> bool:
    return isinstance(data, Sequence) and not isinstance(data, str | bytes)


def _text(value: Any) -> str:
    if value is None:
        return "\u2013"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number_text(value)
    if not _is_list(value):
        return str(value)
    if len(value) <= MOST_LISTED:
        return ", ".join(_text(entry) for entry in value) or "none"
    numbers = [entry for entry in value if isinstance(entry, int | float) and entry == entry]
    if not numbers:
        return f"{len(value)} values"
    return f"{len(value)} values, {number_text(min(numbers))} to {number_text(max(numbers))}"
