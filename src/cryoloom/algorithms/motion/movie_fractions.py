"""The frames of a movie as they are aligned: raw ones, or EER fractions of a given dose."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.motion.eer_fractions import eer_frames_per_fraction
from cryoloom.errors import DataUnfitError
from cryoloom.model import Movie, MovieFrames, Tilt, TiltSeries

__all__ = [
    "ReadAhead",
    "fraction_edges",
    "frames_in_use",
    "frames_per_fraction",
    "n_fractions",
    "read_fractions",
    "without_dark",
]


class ReadAhead:
    """Frames of movies one by one, in the order given; the next ones are decoded in advance.

    The frames of a movie are valid until the next is requested: two movies share the memory in turn.
    """

    def __init__(self, numbers: Sequence[int], read: Callable[[int, ScratchBuffers], NDArray[Any]]) -> None:
        self._read = read
        self._to_come = list(reversed(numbers))
        self._memory = itertools.cycle((ScratchBuffers(), ScratchBuffers()))
        self._reading: tuple[int, Future[NDArray[Any]]] | None = None
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        self._begin_next()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def frames(self, number: int) -> NDArray[Any]:
        """Frames of a movie, ``(fraction, y, x)``; an unexpected one is read at once."""
        if self._reading is None or self._reading[0] != number:
            return self._read(number, ScratchBuffers())
        frames = self._reading[1].result()
        self._begin_next()
        return frames

    def _begin_next(self) -> None:
        number = self._to_come.pop() if self._to_come else None
        self._reading = (
            None if number is None else (number, self._pool.submit(self._read, number, next(self._memory)))
        )


def frames_per_fraction(
    series: TiltSeries, tilt: Tilt, movie: Movie, dose_per_fraction: float, unit: Literal["e/A^2", "e/px"]
) -> int:
    """Raw frames summed before alignment: 1; for EER by this movie's own dose and frame count."""
    if movie.path.suffix.lower() != ".eer":
        return 1
    if tilt.dose_per_angstrom2 <= 0:
        raise DataUnfitError(
            f"the dose of {movie.path.name} is unknown, so its EER frames cannot be grouped; give the dose "
            "per tilt at import",
            dose_per_angstrom2=tilt.dose_per_angstrom2,
        )
    return eer_frames_per_fraction(
        movie.n_frames,
        tilt.dose_per_angstrom2,
        dose_per_fraction,
        unit,
        series.pixel_size_angstrom * movie.eer_sampling,
    )


def frames_in_use(movie: Movie, first: int, last: int | None) -> range:
    """Raw frames of a movie that are summed, from 0; ``first`` and ``last`` count from 1, None is the last.

    Raises DataUnfitError if the movie has none of them.
    """
    frames = range(first - 1, movie.n_frames if last is None else min(last, movie.n_frames))
    if not frames:
        raise DataUnfitError(
            f"{movie.path.name} has no frame from {first} to {last or 'its last'}; "
            "change first_frame or last_frame of align_frames",
            n_frames=movie.n_frames,
        )
    return frames


def n_fractions(n_frames: int, per_fraction: int) -> int:
    """Fractions of so many raw frames. All are used: fractions differ by one where they do not divide."""
    return max(1, round(n_frames / per_fraction))


def read_fractions(
    opened: MovieFrames, movie: Movie, frames: range, n: int, memory: ScratchBuffers
) -> NDArray[Any]:
    """Decode frames into ``n`` sums ``(fraction, y, x)``, counts of the smallest type that holds them."""
    edges = fraction_edges(frames, n)
    dtype = opened.sum_dtype(int(np.diff(edges).max()))
    images = memory.array("frames", (n, *opened.shape_yx), dtype)
    for image, (start, stop) in zip(images, itertools.pairwise(edges), strict=True):
        opened.read_sum(int(start), int(stop), into=image)
        _require_finite(image, movie.path.name, int(start))
    return images


def fraction_edges(frames: range, n: int) -> NDArray[np.int64]:
    """First raw frame of each of ``n`` fractions, and the one after the last, ``(n + 1,)``."""
    return np.linspace(frames.start, frames.stop, n + 1).round().astype(np.int64)


def without_dark(
    fractions: NDArray[Any], dark: NDArray[np.float32], edges: NDArray[np.int64], memory: ScratchBuffers
) -> NDArray[np.float32]:
    """Fractions ``(fraction, y, x)`` less the dark counts of a frame ``(y, x)`` times their raw frames."""
    corrected = memory.array("without_dark", fractions.shape, np.float32)
    for image, counts, n_frames in zip(corrected, fractions, np.diff(edges), strict=True):
        np.multiply(dark, np.float32(-n_frames), out=image)
        image += counts
    return corrected


def _require_finite(image: NDArray[Any], name: str, frame: int) -> None:
    if image.dtype.kind == "f" and not math.isfinite(image.min() + image.max()):  # NaN wins both
        raise DataUnfitError(
            f"{name} has pixels that are NaN or infinite, expected counts; write it again, or leave it out",
            frame=frame,
            n_pixels=int(image.size - np.isfinite(image).sum()),
        )
