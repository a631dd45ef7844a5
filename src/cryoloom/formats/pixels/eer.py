"""EER movies of Falcon cameras: electron events, on the 4K grid or, by their sub-pixels, on a finer one.

Frames are not flipped: row 0 of an EER frame is taken as the bottom (conventions.md).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.decoding_threads import empty_sum, n_decoding_threads, run_side_by_side
from cryoloom.formats.pixels.tiff_directories import TiffDirectory, read_directories
from cryoloom.model import Movie

__all__ = ["EerMovie", "describe_eer"]

_RUN_BITS = {65000: 8, 65001: 7, 65002: 7}  # by TIFF compression; 65002 gives its own in tags 65007-65009
_FRAMES_PER_BYTE_SUM = 255  # one event a pixel and frame at most


@dataclass(frozen=True, slots=True)
class _Coding:
    """Bits of a code: run length, place within the pixel along x and y."""

    skip_bits: int
    horz_bits: int
    vert_bits: int

    @classmethod
    def of(cls, frame: TiffDirectory) -> _Coding:
        if frame.compression != 65002:
            return cls(_RUN_BITS[frame.compression], 2, 2)
        return cls(frame.get(65007, 7), frame.get(65008, 2), frame.get(65009, 2))


def describe_eer(path: Path, sampling: int = 1) -> Movie:
    """Read frame count and shape on the grid requested, no events."""
    frames = _frame_directories(path)
    n_y, n_x = frames[0].shape_yx
    _log2(sampling, _Coding.of(frames[0]))
    return Movie(path, len(frames), (n_y * sampling, n_x * sampling), sampling)


class EerMovie:
    """An open EER movie. ``sampling`` 1 is the camera's own grid, 2 twice as fine, 4 as fine as it gets."""

    def __init__(self, path: Path, sampling: int = 1) -> None:
        self._path = path
        self._sampling = sampling
        self._frames = _frame_directories(path)
        self._coding = _Coding.of(self._frames[0])
        self._log2_sampling = _log2(sampling, self._coding)

    @property
    def n_frames(self) -> int:
        """Raw frames in the file."""
        return len(self._frames)

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Shape of the grid events are placed on."""
        n_y, n_x = self._frames[0].shape_yx
        return n_y * self._sampling, n_x * self._sampling

    def sum_dtype(self, n_frames: int) -> np.dtype[Any]:
        """A pixel counts once a frame at most."""
        return np.min_scalar_type(n_frames)

    def read_sum(self, start: int, stop: int, into: NDArray[Any] | None = None) -> NDArray[Any]:
        """Electrons of raw frames, ``(y, x)``. Frames are decoded side by side."""
        frames = self._frames[start:stop]
        n_parts = min(n_decoding_threads(), max(1, len(frames)))
        n_parts = max(n_parts, -(-len(frames) // _FRAMES_PER_BYTE_SUM))
        parts = [frames[i::n_parts] for i in range(n_parts)]
        total = empty_sum(self.shape_yx, into)
        n_threads = n_decoding_threads()
        for i in range(0, n_parts, n_threads):
            counts = np.zeros((len(parts[i : i + n_threads]), total.size), dtype=np.uint8)
            run_side_by_side(
                [partial(self._decode, part, image) for part, image in zip(parts[i:], counts, strict=False)]
            )
            for part in counts:
                total += part.reshape(total.shape)
        return total

    def _decode(self, frames: list[TiffDirectory], counts: NDArray[np.uint8]) -> None:
        # Describing a movie needs no torch, and the door of the kernel imports it.
        import torch

        from cryoloom.kernels.movies.eer_events import add_events

        n_y, n_x = self._frames[0].shape_yx
        coding, image = self._coding, torch.from_numpy(counts)
        fd = os.open(self._path, os.O_RDONLY)
        try:
            for frame in frames:
                raw = b"".join(os.pread(fd, n, offset) for offset, n in frame.segments)
                words = np.zeros(len(raw) // 8 + 2, dtype="<u8")
                words.view(np.uint8)[: len(raw)] = np.frombuffer(raw, np.uint8)
                n_events = add_events(
                    torch.from_numpy(words.view(np.int64)),
                    8 * len(raw),
                    image,
                    n_x,
                    n_x * n_y,
                    coding.skip_bits,
                    coding.horz_bits,
                    coding.vert_bits,
                    self._log2_sampling,
                )
                if n_events < 0:
                    raise DataUnfitError(
                        f"{self._path.name} is damaged: events of frame {self._frames.index(frame)} lie "
                        f"outside its {n_x} x {n_y} pixels; copy it again from the camera's disk"
                    )
        finally:
            os.close(fd)


def _frame_directories(path: Path) -> list[TiffDirectory]:
    """Pages that hold events; some writers put a summed image before or behind them."""
    frames = [page for page in read_directories(path) if page.compression in _RUN_BITS]
    if not frames:
        raise DataUnfitError(
            f"{path.name} holds no EER frames; copy the file again", got_frames=0, expected_frames="1 or more"
        )
    for i, frame in enumerate(frames):
        if frame.shape_yx != frames[0].shape_yx or _Coding.of(frame) != _Coding.of(frames[0]):
            raise DataUnfitError(
                f"frame {i} of {path.name} is encoded unlike frame 0; copy it again from the camera's disk",
                got_yx=frame.shape_yx,
                expected_yx=frames[0].shape_yx,
            )
    return frames


def _log2(sampling: int, coding: _Coding) -> int:
    finest = 1 << min(coding.horz_bits, coding.vert_bits)
    if sampling not in (1, 2, 4, 8) or sampling > finest:
        raise UserInputError(f"eer_sampling must be a power of 2 up to {finest}, got {sampling}")
    return sampling.bit_length() - 1
