"""Sums of moved frames, even and odd ones apart, binned by cropping spectra: electrons per binned pixel."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cryoloom.algorithms.frame_spectra import FrameGrid
from cryoloom.algorithms.local_motion import LocalMotion, undistorted
from cryoloom.algorithms.motion import phase_ramps
from cryoloom.kernels.frame_shifts import add_moved

__all__ = ["HalfSums", "LocalHalfSums"]


class HalfSums:
    """Spectra of the sums of even and of odd frames, grown frame by frame, and the images they make."""

    def __init__(self, grid: FrameGrid) -> None:
        self._grid = grid
        n_y, n_x = grid.binned_yx
        self._sums = np.zeros((2, n_y, n_x // 2 + 1), np.complex64)
        self._n_frames = [0, 0]

    def add(
        self,
        spectra: NDArray[np.complex64],
        shifts_yx_px: NDArray[np.float64],
        first: int,
    ) -> None:
        """Add frames ``first``, ``first + 1``, ..., moved back by where the specimen was.

        spectra : (frame, y, x // 2 + 1) of the binned grid or a larger crop of the full one.
        """
        ramps_y, ramps_x = phase_ramps(-shifts_yx_px, self._grid.shape_yx, self._grid.binned_yx)
        add_moved(self._sums, spectra, ramps_y, ramps_x, first % 2)
        for i in range(first, first + len(spectra)):
            self._n_frames[i % 2] += 1

    def images(
        self, mean_counts: float, shape_yx: tuple[int, int], pool: Executor
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Even and odd sums as electrons per binned pixel, ``(y, x)``; the frames' mean is put back."""

        def image(half: int) -> NDArray[np.float32]:
            mean = mean_counts * self._n_frames[half]
            return _image(self._sums[half], self._grid, mean, shape_yx)

        even, odd = pool.map(image, (0, 1))
        return even, odd


class LocalHalfSums:
    """The same, of frames whose local displacement is undone one by one in real space."""

    def __init__(self, grid: FrameGrid, local: LocalMotion, n_frames: int, pool: Executor) -> None:
        self._grid, self._local, self._n_frames, self._pool = grid, local, n_frames, pool
        self._sums = np.zeros((2, *grid.binned_yx), np.float32)

    def add(self, spectra: NDArray[np.complex64], shifts_yx_px: NDArray[np.float64], first: int) -> None:
        """Add frames ``first``, ``first + 1``, ..., moved back by their shift and undistorted."""
        for i, (spectrum, shift) in enumerate(zip(spectra, shifts_yx_px, strict=True), start=first):
            one = HalfSums(self._grid)
            one.add(spectrum[None], shift[None], 0)
            frame = one.images(0.0, self._grid.binned_yx, self._pool)[0]
            self._sums[i % 2] += undistorted(
                frame, self._local, self._n_frames, i, self._grid.binning_yx, self._pool
            )

    def images(
        self, mean_counts: float, shape_yx: tuple[int, int], pool: Executor
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Even and odd sums as electrons per binned pixel, ``(y, x)``; the frames' mean is put back."""
        offset = [n // 2 - m // 2 for n, m in zip(self._grid.binned_yx, shape_yx, strict=True)]
        inner = self._sums[:, offset[0] : offset[0] + shape_yx[0], offset[1] : offset[1] + shape_yx[1]]
        mean = mean_counts * self._grid.binning_yx[0] * self._grid.binning_yx[1]
        n_odd = self._n_frames // 2
        return inner[0] + np.float32(mean * (self._n_frames - n_odd)), inner[1] + np.float32(mean * n_odd)


def _image(
    spectrum: NDArray[np.complex64], grid: FrameGrid, mean_counts: float, shape_yx: tuple[int, int]
) -> NDArray[np.float32]:
    """Transform back and cut the padding off; pixel ``n // 2`` stays the centre. Overwrites the spectrum."""
    n_y, n_x = grid.binned_yx
    # The highest row and column stand for both signs; after a shift they carry no usable phase.
    spectrum[n_y // 2] = 0.0
    spectrum[:, -1] = 0.0
    columns = scipy.fft.ifft(spectrum, axis=0, overwrite_x=True)
    rows = scipy.fft.irfft(columns, n=n_x, axis=1)
    # The default inverse divides by the binned number of pixels: that is the sum, not the mean, of what is
    # binned.
    scale = grid.binning_yx[0] * grid.binning_yx[1]
    offset_y, offset_x = n_y // 2 - shape_yx[0] // 2, n_x // 2 - shape_yx[1] // 2
    image = rows[offset_y : offset_y + shape_yx[0], offset_x : offset_x + shape_yx[1]]
    image += np.float32(mean_counts * scale)
    return image
