"""A raw movie and its gain reference: where they are and how they are to be read, not their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["GainReference", "Movie", "MovieFrames"]


@dataclass(frozen=True, slots=True)
class Movie:
    """A movie file as found at import. ``shape_yx`` is the grid it is read on (EER: after sampling)."""

    path: Path
    n_frames: int
    shape_yx: tuple[int, int]
    eer_sampling: int = 1
    """EER only: 1 reads the physical 4K grid, 2 the 8K grid. 1 for every other format."""


@dataclass(frozen=True, slots=True)
class GainReference:
    """A gain reference as the camera wrote it, and the orientation that fits the movies.

    First rotated by ``quarter_turns`` counter-clockwise as displayed with row 0 at the bottom, then flipped.
    ``orientation_by`` is "" until given or found; ``evidence`` holds the figure of each orientation tried.
    """

    path: Path
    quarter_turns: int = 0
    flip: Literal["none", "upside_down", "left_right"] = "none"
    orientation_by: str = ""
    evidence: tuple[tuple[str, float], ...] = ()
    defects_path: Path | None = None
    """SerialEM/MotionCor defects text, or a map image (non-zero is bad) of the movie's shape."""
    divides: bool = False
    """Counts are divided by the file's values, not multiplied (EER with a gain other than ``.gain``)."""


class MovieFrames(Protocol):
    """An open movie: raw counts, row 0 at the bottom (conventions.md), gain not applied."""

    @property
    def n_frames(self) -> int:
        """Raw frames in the file."""

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Frame shape."""

    def sum_dtype(self, n_frames: int) -> np.dtype[Any]:
        """Smallest type that holds every sum of so many raw frames."""

    def read_sum(self, start: int, stop: int, into: NDArray[Any] | None = None) -> NDArray[Any]:
        """Sum of raw frames ``start`` to ``stop - 1`` as counts, ``(y, x)``. Safe to call from threads.

        into : takes the sum, of a type that holds it; without it a new float32 array is made.
        """
