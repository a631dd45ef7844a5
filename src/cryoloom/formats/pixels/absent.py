"""Pixels whose file is gone: what is known of them can still be read, their values cannot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model.pixels import Index, Pixels

__all__ = ["AbsentPixels", "open_if_present"]


class AbsentPixels:
    """Stands for pixels of a file that was removed to save space. Every use raises DataUnfitError."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def shape(self) -> tuple[int, ...]:
        """Not known without the file."""
        self._refuse()

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Not known without the file."""
        self._refuse()

    def __getitem__(self, index: Index, /) -> NDArray[np.float32]:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise DataUnfitError(
            f"{self.path} does not exist; if it was removed to save space, make it again with "
            "`cryoloom resume --remake STEP`"
        )


def open_if_present(path: Path) -> Pixels:
    """An MRC file as lazy pixels, or `AbsentPixels` where there is no such file."""
    return MrcPixels(path) if path.exists() else AbsentPixels(path)
