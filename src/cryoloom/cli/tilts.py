"""The table of every tilt on the command line."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from cryoloom.cli.terminal import console
from cryoloom.store.codec import decode
from cryoloom.store.current import current_state
from cryoloom.store.decisions import in_force
from cryoloom.store.reading import ProjectReader
from cryoloom.views.tilt_table import TILT_COLUMNS, TiltRow, tilt_rows

__all__ = ["show_tilts"]

_WIDTH = 130
"""Width of the table in characters: a narrower terminal wraps lines, and no number is cut."""

_PENDING = {"keep": "keeping pending", "exclude": "exclusion pending"}


def show_tilts(reader: ProjectReader, form: Literal["table", "csv", "json"]) -> None:
    """Print every tilt of the furthest result of every series, as it was made, and pending decisions."""
    wide = Console(width=max(console.width, _WIDTH))
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(
            ["series", "state", *(field.name for field in dataclasses.fields(TiltRow)), "pending"]
        )
    decided = in_force(reader.decisions(), kind="tilt")
    for name, state, rows in _series(reader):
        wanted = {int(one.target): bool(one.value["keep"]) for one in decided if one.item == name}
        if form == "table":
            wide.print(_table(name, state, rows, wanted))
        for row in rows if form != "table" else ():
            values = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
            values["pending"] = _pending(row, wanted)
            if form == "json":
                print(json.dumps({"series": name, "state": state, **values}))  # noqa: T201 - for scripts
            else:
                writer.writerow([name, state, *("" if v is None else v for v in values.values())])


def _series(reader: ProjectReader) -> Iterator[tuple[str, str, tuple[TiltRow, ...]]]:
    """Name, state and tilts of every series that has results."""
    for one in current_state(reader).series.values():
        done = [item for _, item in one.made if item.state == "done"]
        for item in reversed(done):
            value = decode(reader.value_of(item.id or 0), reader.folder, _unopened, _unopened)
            if value.own_series is not None:
                yield one.name, one.state, tilt_rows(value.own_series)
                break


def _pending(row: TiltRow, wanted: Mapping[int, bool]) -> Literal["", "keep", "exclude"]:
    """Change of a tilt by a decision when it is applied."""
    keep = wanted.get(row.acquisition_index, row.is_kept)
    return "" if keep == row.is_kept else "keep" if keep else "exclude"


def _table(name: str, state: str, rows: tuple[TiltRow, ...], wanted: Mapping[int, bool]) -> Table:
    headings = [f"{column.heading} {column.unit}".strip() for column in TILT_COLUMNS]
    table = Table(
        *headings, "kept or why not", title=f"{name} ({state.replace('_', ' ')})", title_justify="left"
    )
    for row in rows:
        cells = []
        for column in TILT_COLUMNS:
            value = getattr(row, column.field)
            cells.append("" if value is None else f"{value:.{column.digits}f}")
        remarks = "; ".join(row.remarks)
        last = remarks or "kept" if row.is_kept else f"{row.reason} ({row.excluded_by})"
        if pending := _pending(row, wanted):
            last += f"; {_PENDING[pending]}"
        table.add_row(*cells, last)
    return table


def _unopened(path: Path) -> Any:
    """Placeholder for pixels and tables, which are not read here."""
    return path
