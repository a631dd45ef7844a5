"""Tables in Apache Parquet files: typed columns, read one by one, by pandas, R and Julia as well."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError

if TYPE_CHECKING:
    import pyarrow.parquet

__all__ = ["ParquetTable", "write_parquet"]


@dataclass(frozen=True)
class ParquetTable:
    """A table in a file; the file is opened at the first question."""

    path: Path

    @property
    def n_rows(self) -> int:
        """Length of every column."""
        return int(self._file.metadata.num_rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names in the order of the file."""
        return tuple(self._file.schema_arrow.names)

    def read(self, *names: str) -> dict[str, NDArray[Any]]:
        """Columns by name, all of them where none is named; text comes as NumPy strings."""
        wanted = names or self.columns
        if missing := set(wanted) - set(self.columns):
            raise KeyError(f"{self.path} has no column {sorted(missing)}; it has {list(self.columns)}")
        found = self._file.read(columns=list(wanted))
        return {name: _as_numpy(found.column(name).to_numpy()) for name in wanted}

    @functools.cached_property
    def _file(self) -> pyarrow.parquet.ParquetFile:
        # Imported here: commands that only name a table need not load the library.
        import pyarrow
        import pyarrow.parquet

        try:
            return pyarrow.parquet.ParquetFile(self.path)
        except (OSError, pyarrow.ArrowException) as error:
            raise DataUnfitError(f"{self.path} cannot be read as a Parquet table: {error}") from error


def write_parquet(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns ``(n,)`` of numbers, booleans or text. Raises ValueError for columns of other shapes."""
    import pyarrow
    import pyarrow.parquet

    arrays = {name: np.asarray(values) for name, values in columns.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"expected columns of one length and one axis, got {shapes}")
    fields = {
        name: pyarrow.array(array.tolist(), pyarrow.string()) if array.dtype.kind in "UO" else array
        for name, array in arrays.items()
    }
    pyarrow.parquet.write_table(pyarrow.table(fields), path, compression="zstd")


def _as_numpy(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(str) if values.dtype == object else values
