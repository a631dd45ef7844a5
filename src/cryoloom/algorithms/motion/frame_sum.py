"""Sums of moved frames, even and odd ones apart, binned by cropping spectra: electrons per binned pixel."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.motion.frame_motion import phase_ramps
from cryoloom.algorithms.motion.frame_spectra import FrameGrid
from cryoloom.algorithms.motion.local_motion import LocalMotion, add_undistorted
from cryoloom.geometry.spline_basis import cubic_spline_transfer
from cryoloom.kernels.movies.frame_shifts import add_moved
from cryoloom.kernels.movies.frame_transform import ROWS, lines_back, lines_shape, rows_back

__all__ = ["FrameSums", "HalfSums", "LocalHalfSums"]

_BLOCKS = 4
"""Chosen: blocks of 16 columns that a thread transforms at a time."""


class FrameSums(NamedTuple):
    """Images ``(y, x)`` float32 in electrons per binned pixel; even frames are the first, the third, ..."""

    images: NDArray[np.float32]
    even: NDArray[np.float32]
    odd: NDArray[np.float32]


class HalfSums:
    """Spectra of the sums of even and of odd frames, accumulated frame by frame, and their images.

    Both use the scratch memory ``name``: the images are valid until sums of that name begin again.
    """

    def __init__(
        self, grid: FrameGrid, scratch: ScratchBuffers, name: str = "sums", *, as_splines: bool = False
    ) -> None:
        """Begin; ``as_splines`` makes images of the weights of cubic B-splines instead of values."""
        self._grid, self._scratch, self._name, self._as_splines = grid, scratch, name, as_splines
        n_y, n_x = grid.binned_yx
        self._sums = scratch.array(name, (2, n_y, n_x // 2 + 1), np.complex64)
        self._sums.fill(0.0)
        self._n_frames = [0, 0]

    def add(
        self,
        spectra: NDArray[np.complex64],
        shifts_yx_px: NDArray[np.float64],
        first: int,
    ) -> None:
        """Add frames ``first``, ``first + 1``, ..., shifted back by the specimen's position.

        spectra : (frame, y, x // 2 + 1) of the binned grid or a larger crop of the full one.
        """
        ramps_y, ramps_x = phase_ramps(-shifts_yx_px, self._grid.shape_yx, self._grid.binned_yx)
        if self._as_splines:
            n_y, n_x = self._grid.binned_yx
            ramps_y = (ramps_y / cubic_spline_transfer(n_y)).astype(np.complex64)
            ramps_x = (ramps_x / cubic_spline_transfer(n_x)[: n_x // 2 + 1]).astype(np.complex64)
        add_moved(
            torch.from_numpy(self._sums),
            torch.from_numpy(spectra),
            torch.from_numpy(ramps_y),
            torch.from_numpy(ramps_x),
            first % 2,
        )
        for i in range(first, first + len(spectra)):
            self._n_frames[i % 2] += 1

    def images(self, mean_counts: float, shape_yx: tuple[int, int], pool: Executor) -> FrameSums:
        """Sums as electrons per binned pixel, ``(y, x)``; the frames' mean is restored."""
        total, *halves = self._scratch.array(f"images of {self._name}", (3, *shape_yx), np.float32)
        # The highest row and column stand for both signs; after a shift they carry no usable phase.
        self._sums[:, self._sums.shape[1] // 2] = 0.0
        self._sums[:, :, -1] = 0.0
        factor_y, factor_x = self._grid.binning_yx
        for spectrum, image, n_frames in zip(self._sums, halves, self._n_frames, strict=True):
            # Divided by the binned number of pixels: that is the sum, not the mean, of the binned pixels.
            self._fill(spectrum, image, np.float32(mean_counts * n_frames * factor_y * factor_x), pool)
        even, odd = halves
        rows = [slice(start, start + ROWS) for start in range(0, shape_yx[0], ROWS)]
        list(pool.map(lambda part: np.add(even[part], odd[part], out=total[part]), rows))
        return FrameSums(total, even, odd)

    def _fill(
        self, spectrum: NDArray[np.complex64], image: NDArray[np.float32], mean: np.float32, pool: Executor
    ) -> None:
        """The middle of a half's sum, its mean restored."""
        (n_y, n_x), (height, width) = self._grid.binned_yx, image.shape
        offset_y, offset_x = n_y // 2 - height // 2, n_x // 2 - width // 2
        lines = torch.from_numpy(
            self._scratch.array("lines of sums", lines_shape(n_y, n_x // 2 + 1), np.float32)
        )
        columns = torch.from_numpy(spectrum)
        scale = np.float32(1.0 / (n_y * n_x))

        def back(first: int) -> None:
            lines_back(columns, first, lines[first : first + _BLOCKS])

        def fill(start: int) -> None:
            rows = self._scratch.array("rows of sums", (ROWS, width), np.float32)
            work = torch.from_numpy(self._scratch.array("row of lines", (n_x, ROWS), np.float32))
            rows_back(lines, offset_y + start, offset_x, n_x, torch.from_numpy(rows), work)
            part = image[start : start + ROWS]
            np.multiply(rows[: len(part)], scale, out=part)
            part += mean

        list(pool.map(back, range(0, len(lines), _BLOCKS)))
        list(pool.map(fill, range(0, height, ROWS)))


class LocalHalfSums:
    """The same, of frames whose local displacement is undone one by one in real space."""

    def __init__(
        self, grid: FrameGrid, scratch: ScratchBuffers, local: LocalMotion, n_frames: int, pool: Executor
    ) -> None:
        self._grid, self._local, self._n_frames, self._pool = grid, local, n_frames, pool
        self._scratch = scratch
        self._sums = np.zeros((2, *grid.binned_yx), np.float32)

    def add(self, spectra: NDArray[np.complex64], shifts_yx_px: NDArray[np.float64], first: int) -> None:
        """Add frames ``first``, ``first + 1``, ..., moved back by their shift and undistorted."""
        for i, (spectrum, shift) in enumerate(zip(spectra, shifts_yx_px, strict=True), start=first):
            one = HalfSums(self._grid, self._scratch, "one frame", as_splines=True)
            one.add(spectrum[None], shift[None], 0)
            frame = one.images(0.0, self._grid.binned_yx, self._pool).even
            add_undistorted(
                self._sums[i % 2], frame, self._local, self._n_frames, i, self._grid.binning_yx, self._pool
            )

    def images(self, mean_counts: float, shape_yx: tuple[int, int], pool: Executor) -> FrameSums:
        """Sums as electrons per binned pixel, ``(y, x)``; the frames' mean is restored."""
        offset = [n // 2 - m // 2 for n, m in zip(self._grid.binned_yx, shape_yx, strict=True)]
        inner = self._sums[:, offset[0] : offset[0] + shape_yx[0], offset[1] : offset[1] + shape_yx[1]]
        mean = mean_counts * self._grid.binning_yx[0] * self._grid.binning_yx[1]
        n_odd = self._n_frames // 2
        even = inner[0] + np.float32(mean * (self._n_frames - n_odd))
        odd = inner[1] + np.float32(mean * n_odd)
        return FrameSums(even + odd, even, odd)
