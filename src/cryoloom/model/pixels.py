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
