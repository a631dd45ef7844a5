"""Multiplying spectra by a function of the frequency's length on the CPU: one numba loop."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["weight_radially_numba"]


@numba.njit(fastmath={"contract", "reassoc", "arcp"}, error_model="numpy", nogil=True, cache=True)
def weight_radially_numba(
    spectrum: NDArray[np.complex64],
    frequency_y: NDArray[np.float32],
    frequency_x: NDArray[np.float32],
    table: NDArray[np.float32],
    highest: float,
) -> None:
    """See `cryoloom.kernels.images.radial_weights.weight_radially`; the same on NumPy arrays."""
    scale = np.float32((len(table) - 1) / highest)
    last = len(table) - 2
    for y in range(spectrum.shape[0]):
        squared = frequency_y[y] * frequency_y[y]
        for x in range(spectrum.shape[1]):
            position = math.sqrt(squared + frequency_x[x] * frequency_x[x]) * scale
            i = min(int(position), last)
            part = position - np.float32(i)
            spectrum[y, x] *= table[i] + part * (table[i + 1] - table[i])
