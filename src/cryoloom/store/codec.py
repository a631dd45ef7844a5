"""Values of the model as JSON and back. No pickle: a project outlives the code that wrote it.

A dataclass becomes ``{"$type": name, field: value, ...}``, pixels ``{"$pixels": path}`` relative to the
project where they lie inside it, a table ``{"$table": path}``, a path ``{"$path": ...}`` and a time
``{"$time": ...}``. Computed pixels (`derived_pixels`) are dataclasses that hold others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

import cryoloom.model
from cryoloom.algorithms.series.derived_pixels import DERIVED
from cryoloom.formats.exchange.parquet import ParquetTable
from cryoloom.model import Pixels, Table

__all__ = ["decode", "encode", "fingerprint"]

OpenPixels = Callable[[Path], Pixels]
OpenTable = Callable[[Path], Table]

_MODEL: dict[str, type[Any]] = {
    name: getattr(cryoloom.model, name)
    for name in cryoloom.model.__all__
    if dataclasses.is_dataclass(getattr(cryoloom.model, name))
} | {kind.__name__: kind for kind in DERIVED}


def encode(value: object, root: Path, *, arrays: bool = False) -> Any:
    """Turn a value into plain JSON data; paths inside ``root`` are stored relative to it.

    With ``arrays`` NumPy arrays are left unchanged: for sending, not for storing. Raises
    TypeError for a type that is not the model's, and for pixels and tables that are not in a file.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.integer | np.floating):
        return value.item()
    if isinstance(value, Path):
        return {"$path": _relative(value, root)}
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if dataclasses.is_dataclass(value) and type(value).__name__ in _MODEL:
        fields = {
            f.name: encode(getattr(value, f.name), root, arrays=arrays)
            for f in dataclasses.fields(value)
            if not (f.metadata.get("added_later") and getattr(value, f.name) == f.default)
        }
        return {"$type": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(name): encode(inner, root, arrays=arrays) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [encode(inner, root, arrays=arrays) for inner in value]
    if arrays and isinstance(value, np.ndarray):
        return value
    path = getattr(value, "path", None)
    if isinstance(path, Path) and isinstance(value, Pixels):
        return {"$pixels": _relative(path, root)}
    if isinstance(path, Path) and isinstance(value, Table):
        return {"$table": _relative(path, root)}
    raise TypeError(
        f"cannot store a {type(value).__name__}: expected a value of cryoloom.model or plain data"
    )


def decode(data: Any, root: Path, open_pixels: OpenPixels, open_table: OpenTable = ParquetTable) -> Any:
    """Inverse of `encode`; sequences are returned as tuples, pixels and tables as opened from their paths.

    Fields unknown to this version are dropped, new fields take their defaults.
    """
    if isinstance(data, list):
        return tuple(decode(inner, root, open_pixels, open_table) for inner in data)
    if not isinstance(data, dict):
        return data
    if "$path" in data:
        return root / data["$path"]
    if "$time" in data:
        return datetime.fromisoformat(data["$time"])
    if "$pixels" in data:
        return open_pixels(root / data["$pixels"])
    if "$table" in data:
        return open_table(root / data["$table"])
    inner = {
        name: decode(value, root, open_pixels, open_table) for name, value in data.items() if name != "$type"
    }
    if "$type" not in data:
        return inner
    kind = _MODEL[data["$type"]]
    known = {f.name for f in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in inner.items() if name in known})


def fingerprint(*parts: object) -> str:
    """Hash of plain JSON data, the same on every machine: the cache key of an item."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _relative(path: Path, root: Path) -> str:
    absolute, base = path.absolute(), root.absolute()
    return str(absolute.relative_to(base)) if absolute.is_relative_to(base) else str(absolute)
