"""Images filtered by a function of frequency, a few rows or columns at a time: they stay in the cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.kernels.images.radial_weights import weight_radially
from cryoloom.kernels.tensors import tensor_over

__all__ = ["weighted_by_frequency"]

#: Chosen: rows and columns that one thread processes at once.
_ROWS = _COLUMNS = 32

Rows = Callable[[int, int], NDArray[np.float32]]


def weighted_by_frequency(
    rows: Rows, table: NDArray[np.float32], out: NDArray[np.float32], scratch: ScratchBuffers
) -> None:
    """Fill ``out`` ``(y, x)`` with an image whose spectrum is multiplied by a function of the frequency.

    rows : gives rows ``start`` to ``stop - 1`` of the image. table : the function at even steps of frequency
    from 0 to ``sqrt(0.5)`` cycles per pixel. Works on the calling thread alone.
    """
    n_y, n_x = out.shape
    spectrum = scratch.array("spectrum", (n_y, n_x // 2 + 1), np.complex64)
    for top in range(0, n_y, _ROWS):
        bottom = min(n_y, top + _ROWS)
        spectrum[top:bottom] = scipy.fft.rfft(rows(top, bottom), axis=1)
    frequency_y = torch.from_numpy(np.fft.fftfreq(n_y).astype(np.float32))
    frequency_x = torch.from_numpy(np.fft.rfftfreq(n_x).astype(np.float32))
    weights = tensor_over(table)
    for left in range(0, spectrum.shape[1], _COLUMNS):
        inside = slice(left, left + _COLUMNS)
        columns = scipy.fft.fft(spectrum[:, inside], axis=0)
        weight_radially(torch.from_numpy(columns), frequency_y, frequency_x[inside], weights, 0.5**0.5)
        spectrum[:, inside] = scipy.fft.ifft(columns, axis=0, overwrite_x=True)
    for top in range(0, n_y, _ROWS):
        out[top : top + _ROWS] = scipy.fft.irfft(spectrum[top : top + _ROWS], n=n_x, axis=1)
