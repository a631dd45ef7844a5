"""Imported series and their metadata, as lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryoloom.model import Item, TiltSeries
from cryoloom.store.codec import decode
from cryoloom.store.current import CurrentState
from cryoloom.store.reading import Reader
from cryoloom.views.import_summary import import_line, import_lines

__all__ = ["imported_line", "imported_lines"]


def imported_lines(reader: Reader, state: CurrentState) -> list[str]:
    """One line for each group of series with the same metadata."""
    sources = {node.name for node in state.nodes if not node.feeds}
    found = []
    for one in state.series.values():
        first = one.standings[0]
        if first.node in sources and first.item is not None and first.item.id is not None:
            series = _series(reader.value_of(first.item.id))
            found += [] if series is None else [series]
    return import_lines(found)


def imported_line(value: Mapping[str, Any]) -> str:
    """Summary of a series as it was imported; "" for anything else."""
    series = _series(value)
    return "" if series is None else import_line(series)


def _series(value: Mapping[str, Any] | None) -> TiltSeries | None:
    """A stored tilt series whose files are not opened."""
    made = None if value is None else decode(value, Path(), _unopened, _unopened)
    series = made.own_series if isinstance(made, Item) else None
    return series if series is not None and series.tilts else None


def _unopened(path: Path) -> Any:
    return path
