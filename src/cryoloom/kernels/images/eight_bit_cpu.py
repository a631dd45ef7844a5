"""Sections to 8 bits for display, and to half their size, on the CPU: numba loops."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["halve_eight_bit_numba", "mean_across_numba", "to_eight_bit_numba"]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def to_eight_bit_numba(section: NDArray[np.float32], low: float, high: float, out: NDArray[np.uint8]) -> None:
    """See `cryoloom.kernels.images.eight_bit.to_eight_bit`; the same on NumPy arrays."""
    n_y, n_x = section.shape
    scale = np.float32(255.0 / (high - low))
    offset = np.float32(0.5 - low * 255.0 / (high - low))
    top = np.float32(255.0)
    for y in range(n_y):
        line, mapped = section[y], out[y]
        for x in range(n_x):
            value = line[x] * scale + offset
            value = min(value, top) if value > 0 else np.float32(0)
            mapped[x] = np.uint8(value)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def halve_eight_bit_numba(
    first: NDArray[np.uint8], second: NDArray[np.uint8], out: NDArray[np.uint8]
) -> None:
    """See `cryoloom.kernels.images.eight_bit.halve_eight_bit`; the same on NumPy arrays."""
    n_y, n_x = first.shape
    even_x = n_x // 2
    for y in range(out.shape[0]):
        y0 = 2 * y
        y1 = min(y0 + 1, n_y - 1)
        a, b, c, d, line = first[y0], first[y1], second[y0], second[y1], out[y]
        for x in range(even_x):
            i = 2 * x
            total = np.uint32(a[i]) + a[i + 1] + b[i] + b[i + 1] + c[i] + c[i + 1] + d[i] + d[i + 1]
            line[x] = np.uint8((total + np.uint32(4)) >> np.uint32(3))
        if n_x % 2:
            i = n_x - 1
            total = np.uint32(a[i]) + b[i] + c[i] + d[i]
            line[even_x] = np.uint8((total + np.uint32(2)) >> np.uint32(2))


@numba.njit(error_model="numpy", nogil=True, cache=True)
def mean_across_numba(volume: NDArray[np.uint8], begin: int, end: int, out: NDArray[np.float32]) -> None:
    """See `cryoloom.kernels.images.eight_bit.mean_across`; the same on NumPy arrays."""
    n_z, n_y, _ = volume.shape
    scale = np.float32(1.0 / (end - begin))
    for z in range(n_z):
        section = volume[z]
        for y in range(n_y):
            line, total = section[y], np.uint32(0)
            for x in range(begin, end):
                total += line[x]
            out[y, z] = total * scale
