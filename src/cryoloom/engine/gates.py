"""Numeric gates: a file full of zeros, constants or NaN never becomes a result."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.model.pixels import Index

__all__ = ["GatedSink"]


class FileSink(Protocol):
    """A file being written: what `formats.mrc.MrcSink` is."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[np.generic]: ...
    def __getitem__(self, index: Index, /) -> NDArray[np.float32]: ...
    def __setitem__(self, index: Index, values: NDArray[np.float32], /) -> None: ...


class GatedSink:
    """Pixels being made, watched as they are written: the check costs no second reading of the file."""

    def __init__(self, role: str, sink: FileSink, path: Path) -> None:
        self.role = role
        self.path = path
        """The file these pixels will be."""
        self._sink = sink
        self._lowest, self._highest = np.inf, -np.inf
        self._n_written = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Array order."""
        return self._sink.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the stored values."""
        return self._sink.dtype

    def __getitem__(self, index: Index, /) -> NDArray[np.float32]:
        return self._sink[index]

    def __setitem__(self, index: Index, values: NDArray[np.float32], /) -> None:
        lowest, highest = float(np.min(values)), float(np.max(values))  # NaN wins both
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            n_bad = int(np.size(values) - np.isfinite(values).sum())
            raise DataUnfitError(
                f"{self.role} would hold {n_bad} values that are not finite; expected numbers: "
                "look for NaN in the input of this step",
                where=str(index),
            )
        self._lowest, self._highest = min(self._lowest, lowest), max(self._highest, highest)
        self._n_written += int(np.size(values))
        self._sink[index] = values

    def check(self) -> None:
        """Raise DataUnfitError unless everything was written and not all of it is one value."""
        expected = int(np.prod(self.shape))
        if self._n_written < expected:
            raise DataUnfitError(
                f"{self.role} was left unfinished: {self._n_written} of {expected} values were written"
            )
        if self._lowest == self._highest:
            raise DataUnfitError(
                f"{self.role} is constant: every value is {self._lowest:g}; expected an image. "
                "The input of this step is empty or the device failed"
            )
