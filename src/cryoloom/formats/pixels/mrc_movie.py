"""MRC movies of every mode, 4-bit ones too. Row 0 is the bottom already."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.formats.pixels.decoding_threads import empty_sum, n_decoding_threads, run_side_by_side
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import Movie

__all__ = ["MrcMovie", "describe_mrc"]


def describe_mrc(path: Path) -> Movie:
    """Read frame count and shape from the header, no pixels."""
    n_frames, n_y, n_x = MrcPixels(path).shape
    return Movie(path, n_frames, (n_y, n_x))


class MrcMovie:
    """An open MRC movie."""

    def __init__(self, path: Path) -> None:
        self._pixels = MrcPixels(path)

    @property
    def n_frames(self) -> int:
        """Frames in the file."""
        return self._pixels.shape[0]

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Frame shape."""
        return self._pixels.shape[1], self._pixels.shape[2]

    def sum_dtype(self, n_frames: int) -> np.dtype[Any]:
        """Type of sums."""
        return np.dtype(np.float32)

    def read_sum(self, start: int, stop: int, into: NDArray[Any] | None = None) -> NDArray[Any]:
        """Sum of raw frames, ``(y, x)``."""
        total = empty_sum(self.shape_yx, into)
        bounds = np.linspace(0, self.shape_yx[0], 4 * n_decoding_threads() + 1).astype(int)
        frames = range(*slice(start, stop).indices(self.n_frames))
        run_side_by_side(
            [
                partial(self._add, frames, int(low), int(high), total)
                for low, high in itertools.pairwise(bounds)
            ]
        )
        return total

    def _add(self, frames: range, low: int, high: int, total: NDArray[Any]) -> None:
        for i in frames:
            total[low:high] += self._pixels[i, low:high]
