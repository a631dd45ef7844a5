"""Images and volumes as lazy handles: a shape, a type, and slices read when requested."""

from __future__ import annotations

from types import EllipsisType
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Index", "PixelSink", "Pixels"]

Index = int | slice | EllipsisType | tuple[int | slice | EllipsisType, ...]


@runtime_checkable
class Pixels(Protocol):
    """Something sliced like an array: a NumPy array, or a file that is read slice by slice.

    Slices come as float32 in native byte order, independent of the file.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Array order: ``(y, x)``, ``(tilt, y, x)`` or ``(z, y, x)``."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the stored values."""

    def __getitem__(self, index: Index, /) -> NDArray[np.float32]: ...


class PixelSink(Pixels, Protocol):
    """Pixels being made: written slice by slice in any order, kept only when the step succeeds."""

    def __setitem__(self, index: Index, values: NDArray[np.float32], /) -> None: ...


class KeyedPixels(PixelSink, Protocol):
    """A stack being made, whose sections are kept by keys while the item still grows."""

    def holds(self, section: int) -> bool:
        """Whether a section is there already, under the key that was given for it."""

    def place(self, section: int) -> int:
        """Place of a section in the file: while the item grows, there are free places for later tilts."""

    def keep(self, section: int, key: str) -> None:
        """A section is written. While the item grows, it is kept under this key from now on."""
