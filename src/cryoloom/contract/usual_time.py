"""Usual time of a step for a tilt series: an estimate before a project has run it once.

Measured on the machine of the benchmarks (two cores, nothing else running). What an item takes elsewhere
depends on its specimen and on the machine; from the first item on, a project knows its own times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cryoloom.model import TiltSeries

__all__ = ["UsualTime"]


@dataclass(frozen=True, slots=True)
class UsualTime:
    """Seconds of an item: a fixed part, and a part proportional to the data that the step reads."""

    seconds: float
    per_gigapixel: float = 0.0
    of: Literal["frames", "images"] = "images"

    def of_series(self, series: TiltSeries) -> float:
        """Seconds for a series; its images have the size of its stack, or of its movies."""
        movies = [tilt.movie for tilt in series.tilts if tilt.movie is not None]
        if self.of == "frames":
            pixels = sum(movie.n_frames * movie.shape_yx[0] * movie.shape_yx[1] for movie in movies)
        elif series.stack is not None:
            pixels = len(series.tilts) * series.stack.shape_yx[0] * series.stack.shape_yx[1]
        else:
            pixels = sum(movie.shape_yx[0] * movie.shape_yx[1] for movie in movies)
        return self.seconds + self.per_gigapixel * pixels / 1e9
