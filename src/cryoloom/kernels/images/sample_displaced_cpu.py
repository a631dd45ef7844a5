"""Sampling an image at smoothly displaced positions on the CPU: one numba loop."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["sample_displaced_numba"]


@numba.njit(fastmath={"contract", "reassoc", "arcp"}, error_model="numpy", nogil=True, cache=True)
def sample_displaced_numba(
    coefficients: NDArray[np.float32],
    origin_yx: tuple[int, int],
    basis_y: NDArray[np.float32],
    basis_x: NDArray[np.float32],
    control_yx: NDArray[np.float32],
    sampled: NDArray[np.float32],
) -> None:
    """See `cryoloom.kernels.images.sample_displaced.sample_displaced`; the same on NumPy arrays."""
    n_y, n_x = coefficients.shape
    n_rows, n_columns = sampled.shape
    n_a, n_b = control_yx.shape[0], control_yx.shape[1]
    along = np.empty((n_b, 2), np.float32)
    by, bx = np.empty(n_columns, np.float32), np.empty(n_columns, np.float32)
    third, half = np.float32(1 / 3), np.float32(0.5)
    for row in range(n_rows):
        along[:] = 0
        for a in range(n_a):
            for b in range(n_b):
                along[b, 0] += basis_y[row, a] * control_yx[a, b, 0]
                along[b, 1] += basis_y[row, a] * control_yx[a, b, 1]
        by[:] = np.float32(origin_yx[0] + row)
        bx[:] = 0
        for b in range(n_b):
            for column in range(n_columns):
                by[column] += basis_x[column, b] * along[b, 0]
                bx[column] += basis_x[column, b] * along[b, 1]
        for column in range(n_columns):
            y = min(max(by[column], np.float32(0)), np.float32(n_y - 1))
            x = min(max(bx[column] + np.float32(origin_yx[1] + column), np.float32(0)), np.float32(n_x - 1))
            iy, ix = int(y), int(x)
            f, g = y - np.float32(iy), x - np.float32(ix)
            r, s = np.float32(1) - f, np.float32(1) - g
            # Cubic B-splines centred on -1, 0, 1 and 2; times 3, which `third` undoes.
            y0, y3 = half * r * r * r, half * f * f * f
            y1, y2 = (
                np.float32(2) - f * f * (np.float32(3) - 3 * half * f),
                np.float32(2) - r * r * (np.float32(3) - 3 * half * r),
            )
            x0, x3 = half * s * s * s, half * g * g * g
            x1, x2 = (
                np.float32(2) - g * g * (np.float32(3) - 3 * half * g),
                np.float32(2) - s * s * (np.float32(3) - 3 * half * s),
            )
            c0 = ix - 1 if ix > 0 else n_x - 1
            c2 = ix + 1 if ix + 1 < n_x else 0
            c3 = ix + 2 if ix + 2 < n_x else ix + 2 - n_x
            l0 = coefficients[iy - 1 if iy > 0 else n_y - 1]
            l1 = coefficients[iy]
            l2 = coefficients[iy + 1 if iy + 1 < n_y else 0]
            l3 = coefficients[iy + 2 if iy + 2 < n_y else iy + 2 - n_y]
            value = y0 * (x0 * l0[c0] + x1 * l0[ix] + x2 * l0[c2] + x3 * l0[c3])
            value += y1 * (x0 * l1[c0] + x1 * l1[ix] + x2 * l1[c2] + x3 * l1[c3])
            value += y2 * (x0 * l2[c0] + x1 * l2[ix] + x2 * l2[c2] + x3 * l2[c3])
            value += y3 * (x0 * l3[c0] + x1 * l3[ix] + x2 * l3[c2] + x3 * l3[c3])
            sampled[row, column] = value * third * third
