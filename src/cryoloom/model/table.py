"""Tables as lazy handles: named columns of equal length, read on access."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["ArrayTable", "Table"]


@runtime_checkable
class Table(Protocol):
    """Columns of equal length: arrays in memory, or a file that is read on access."""

    @property
    def n_rows(self) -> int:
        """Length of every column."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names, with units in them."""

    def read(self, *names: str) -> dict[str, NDArray[Any]]:
        """Columns by name, or all of them; KeyError for an unknown one."""


@dataclass(frozen=True, slots=True)
class ArrayTable:
    """A table in memory."""

    arrays: Mapping[str, NDArray[Any]]

    @property
    def n_rows(self) -> int:
        """Length of every column."""
        return len(next(iter(self.arrays.values()))) if self.arrays else 0

    @property
    def columns(self) -> tuple[str, ...]:
        """Names in the order they were given."""
        return tuple(self.arrays)

    def read(self, *names: str) -> dict[str, NDArray[Any]]:
        """Columns by name, or all of them."""
        return {name: np.asarray(self.arrays[name]) for name in names or self.columns}
