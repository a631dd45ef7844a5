"""An image sampled on a turned, shifted and scaled grid on the CPU: one numba loop over rows."""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from cryoloom.kernels.compile import parallel_and_serial

__all__ = ["sample_spline_numba", "sample_spline_numba_serial"]


def _sample(
    coefficients: NDArray[np.float32],
    affine: NDArray[np.float64],
    first_row: int,
    sampled: NDArray[np.float32],
    margin_yx: tuple[float, float],
) -> None:
    """See `cryoloom.kernels.images.spline_sample.sample_spline`; the same on NumPy arrays."""
    n_y, n_x = coefficients.shape
    n_rows, n_columns = sampled.shape
    low_y, low_x = margin_yx
    high_y, high_x = n_y - 1 - low_y, n_x - 1 - low_x
    for row in prange(n_rows):
        start_y = affine[0, 0] * (first_row + row) + affine[0, 2]
        start_x = affine[1, 0] * (first_row + row) + affine[1, 2]
        for column in range(n_columns):
            y = start_y + affine[0, 1] * column
            x = start_x + affine[1, 1] * column
            if y < low_y or y > high_y or x < low_x or x > high_x:
                sampled[row, column] = np.nan
                continue
            iy, ix = int(np.floor(y)), int(np.floor(x))
            wy = _weights(np.float32(y - iy))
            wx = _weights(np.float32(x - ix))
            if 1 <= iy < n_y - 2 and 1 <= ix < n_x - 2:
                value = np.float32(0)
                for i in range(4):
                    line = np.float32(0)
                    for j in range(4):
                        line += wx[j] * coefficients[iy - 1 + i, ix - 1 + j]
                    value += wy[i] * line
            else:
                value = np.float32(0)
                for i in range(4):
                    for j in range(4):
                        value += wy[i] * wx[j] * coefficients[(iy - 1 + i) % n_y, (ix - 1 + j) % n_x]
            sampled[row, column] = value


@numba.njit(fastmath=True, error_model="numpy", inline="always")
def _weights(f: np.float32) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Cubic B-splines centred on -1, 0, 1 and 2, at ``f`` from 0 to 1."""
    g = np.float32(1) - f
    sixth = np.float32(1 / 6)
    two_thirds = np.float32(2 / 3)
    half = np.float32(0.5)
    return (
        g * g * g * sixth,
        two_thirds - f * f * (np.float32(1) - half * f),
        two_thirds - g * g * (np.float32(1) - half * g),
        f * f * f * sixth,
    )


sample_spline_numba, sample_spline_numba_serial = parallel_and_serial(
    _sample, fastmath={"contract", "reassoc", "arcp"}, error_model="numpy"
)
