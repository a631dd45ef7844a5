"""TIFF movies of any compression, flipped upside down on reading: row 0 of a TIFF is the top."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.decoding_threads import empty_sum, n_decoding_threads, run_side_by_side
from cryoloom.formats.pixels.tiff_directories import TiffDirectory, byte_order, read_directories
from cryoloom.model import Movie

__all__ = ["TiffMovie", "describe_tiff"]

# Tags that decide how bytes become pixels: one decoder serves all frames only where these agree.
_LAYOUT_TAGS = (256, 257, 258, 259, 266, 277, 278, 284, 317, 322, 323, 339)


_Segments = list[tuple[int, int]]
"""Offset and length in bytes of every strip of a frame."""


def describe_tiff(path: Path) -> Movie:
    """Read frame count and shape from the directories, no pixels."""
    frames = _frame_directories(path)
    return Movie(path, len(frames), frames[0].shape_yx)


class TiffMovie:
    """An open TIFF movie."""

    def __init__(self, path: Path) -> None:
        self._path = path
        frames = _frame_directories(path)
        self._shape_yx = frames[0].shape_yx
        self._segments = [frame.segments for frame in frames]
        self._decode = _decoder(path)
        self._raw_dtype = _raw_dtype(path, frames)
        self._has_bytes = frames[0].get(258, 1) == 8 and frames[0].get(339, 1) in (1, 2)

    @property
    def n_frames(self) -> int:
        """Frames in the file."""
        return len(self._segments)

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Frame shape."""
        return self._shape_yx

    def sum_dtype(self, n_frames: int) -> np.dtype[Any]:
        """A byte for one frame of bytes, more for more of them, float32 for all other types."""
        return np.min_scalar_type(255 * n_frames) if self._has_bytes else np.dtype(np.float32)

    def read_sum(self, start: int, stop: int, into: NDArray[Any] | None = None) -> NDArray[Any]:
        """Sum of raw frames, ``(y, x)``, row 0 at the bottom.

        Parts of a frame are decoded side by side; a file whose frames have too few of them has its frames
        decoded side by side.
        """
        total = empty_sum(self.shape_yx, into)
        frames, n_threads = self._segments[start:stop], n_decoding_threads()
        is_raw = self._raw_dtype is not None
        n_segments = self.shape_yx[0] if is_raw else len(self._segments[0])
        fd = os.open(self._path, os.O_RDONLY)
        try:
            if is_raw or n_segments >= n_threads:
                bounds = np.linspace(0, n_segments, min(n_segments, 8 * n_threads) + 1).astype(int)
                add = self._add_rows if is_raw else self._add
                run_side_by_side(
                    [
                        partial(add, fd, frames, range(a, b), total[::-1])
                        for a, b in itertools.pairwise(bounds)
                    ]
                )
            else:
                lock = threading.Lock()
                run_side_by_side(
                    [partial(self._add_whole, fd, frame, n_segments, total, lock) for frame in frames]
                )
        finally:
            os.close(fd)
        return total

    def _add_whole(
        self, fd: int, frame: _Segments, n_segments: int, total: NDArray[Any], lock: threading.Lock
    ) -> None:
        one = np.zeros_like(total)
        self._add(fd, [frame], range(n_segments), one[::-1])
        with lock:
            total += one

    def _add(self, fd: int, frames: list[_Segments], segments: range, top_down: NDArray[Any]) -> None:
        """Add some strips or tiles of every frame; ``top_down`` is the sum with row 0 at the top."""
        for frame in frames:
            for i in segments:
                offset, n_bytes = frame[i]
                if not n_bytes:
                    continue  # a strip of zeros that its writer left out
                pixels, y, x = self._segment(os.pread(fd, n_bytes, offset), i)
                rows = top_down[y : y + pixels.shape[0], x : x + pixels.shape[1]]
                rows += pixels[: rows.shape[0], : rows.shape[1]]  # tiles reach beyond the edge

    def _add_rows(self, fd: int, frames: list[_Segments], rows: range, top_down: NDArray[Any]) -> None:
        """Add some rows of every frame of an uncompressed file."""
        n_bytes = self.shape_yx[1] * np.dtype(self._raw_dtype).itemsize
        for frame in frames:
            raw = os.pread(fd, len(rows) * n_bytes, frame[0][0] + rows.start * n_bytes)
            top_down[rows.start : rows.stop] += np.frombuffer(raw, self._raw_dtype).reshape(len(rows), -1)

    def _segment(self, raw: bytes, i: int) -> tuple[NDArray[Any], int, int]:
        try:
            decoded, (_, _, y, x, _), _ = self._decode(raw, i)
        except (RuntimeError, ValueError, tifffile.TiffFileError) as error:
            raise DataUnfitError(
                f"{self._path.name} is damaged: strip {i} cannot be decoded ({error}); copy it again from "
                "the camera's disk"
            ) from error
        pixels = decoded[0, :, :, 0]
        # Some programs mark counts as signed bytes. A count is never negative.
        return pixels.view(np.uint8) if pixels.dtype == np.int8 else pixels, y, x


def _frame_directories(path: Path) -> list[TiffDirectory]:
    """Pages that are frames; raises DataUnfitError where there are none or they differ."""
    frames = [page for page in read_directories(path) if not page.is_reduced]
    if not frames:
        raise DataUnfitError(f"{path.name} holds no frames", got_frames=0, expected_frames="1 or more")
    if frames[0].get(277, 1) != 1:
        raise DataUnfitError(f"{path.name} is a colour image, not a movie", samples=frames[0].get(277))
    for i, frame in enumerate(frames):
        if [frame.tags.get(tag) for tag in _LAYOUT_TAGS] != [frames[0].tags.get(tag) for tag in _LAYOUT_TAGS]:
            raise DataUnfitError(
                f"frame {i} of {path.name} is laid out unlike frame 0; write the movie again",
                got_yx=frame.shape_yx,
                expected_yx=frames[0].shape_yx,
            )
        if len(frame.segments) != len(frames[0].segments):
            raise DataUnfitError(
                f"frame {i} of {path.name} is incomplete; copy it again from the camera's disk",
                got_strips=len(frame.segments),
                expected_strips=len(frames[0].segments),
            )
    return frames


def _raw_dtype(path: Path, frames: list[TiffDirectory]) -> np.dtype[Any] | None:
    """Type of the pixels where a frame is one uncompressed block of the file; None for all else."""
    first = frames[0]
    kind = {1: "u", 2: "i", 3: "f"}.get(first.get(339, 1))
    bits = first.get(258, 1)
    if first.compression != 1 or kind is None or bits not in (8, 16, 32, 64) or 322 in first.tags:
        return None
    n_bytes = first.shape_yx[0] * first.shape_yx[1] * bits // 8
    for frame in frames:
        segments = frame.segments
        ends_meet = all(a + n == b for (a, n), (b, _) in itertools.pairwise(segments))
        if not ends_meet or sum(n for _, n in segments) != n_bytes:
            return None
    if (kind, bits) == ("i", 8):
        kind = "u"  # as in _segment
    return np.dtype(f"{byte_order(path)}{kind}{bits // 8}")


def _decoder(path: Path) -> Callable[[bytes, int], Any]:
    """Decoder of a strip or tile of the first frame, which serves them all."""
    try:
        with tifffile.TiffFile(path) as tiff:
            page = next(page for page in tiff.pages if isinstance(page, tifffile.TiffPage))
            decode: Callable[[bytes, int], Any] = page.decode
    except (tifffile.TiffFileError, ValueError, StopIteration) as error:
        raise DataUnfitError(f"{path.name} cannot be read as a TIFF movie: {error}") from error
    return decode
