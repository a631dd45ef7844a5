"""Blocks of STAR files as rows, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import starfile

from cryoloom.errors import DataUnfitError

__all__ = ["Row", "read_blocks", "write_blocks"]

Row = dict[str, Any]


def read_blocks(path: Path) -> dict[str, list[Row]]:
    """Blocks by name without "data_"; a block of single values is one row. Text stays text.

    Raises DataUnfitError if the file is missing or is not a STAR file.
    """
    try:
        blocks = starfile.read(path, always_dict=True)
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise DataUnfitError(f"{path} cannot be read as a STAR file: {error}") from error
    found: dict[str, list[Row]] = {}
    for name, block in blocks.items():
        rows = block.to_dict("records") if isinstance(block, pd.DataFrame) else [dict(block)]
        found[str(name)] = [{str(key): value for key, value in row.items()} for row in rows]
    if not found:
        raise DataUnfitError(f"{path} contains no table; expected a STAR file")
    return found


def write_blocks(path: Path, blocks: Mapping[str, Sequence[Row] | Row]) -> Path:
    """Write loops (sequences of rows, alike in their columns) and blocks of single values (one row)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    tables = {
        name: dict(block) if isinstance(block, Mapping) else pd.DataFrame(list(block))
        for name, block in blocks.items()
    }
    starfile.write(tables, part, float_format="%.6f")
    return part.replace(path)
