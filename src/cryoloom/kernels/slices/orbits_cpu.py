"""Evidence of orbits on the CPU: a numba loop over placings."""

from __future__ import annotations

import math

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from cryoloom.kernels.slices.fourier_cell import FAST, ONE, cell_of

__all__ = ["orbit_evidence_numba"]


@numba.njit(parallel=True, fastmath=FAST, error_model="numpy", nogil=True, cache=True)
def orbit_evidence_numba(
    cube: NDArray[np.float32],
    turns: NDArray[np.float32],
    points: NDArray[np.float32],
    prior: NDArray[np.float32],
    found: NDArray[np.float64],
) -> None:
    """As `orbits.orbit_evidence`; the cube's last axis is real, imaginary, precision, worth."""
    middle = np.float32(cube.shape[0] // 2)
    unit, half = np.float32(1.0), np.float32(0.5)
    for i in prange(turns.shape[0]):
        nats = 0.0
        for m in range(points.shape[0]):
            px, py, pz = points[m, 0], points[m, 1], points[m, 2]
            real, imaginary = np.float32(0.0), np.float32(0.0)
            precision, worth = np.float32(0.0), np.float32(0.0)
            for g in range(turns.shape[1]):
                x = turns[i, g, 0, 0] * px + turns[i, g, 0, 1] * py + turns[i, g, 0, 2] * pz
                y = turns[i, g, 1, 0] * px + turns[i, g, 1, 1] * py + turns[i, g, 1, 2] * pz
                z = turns[i, g, 2, 0] * px + turns[i, g, 2, 1] * py + turns[i, g, 2, 2] * pz
                ix, iy, iz, fx, fy, fz, sign = cell_of(x, y, z, middle)
                for dz in range(2):
                    wz = fz if dz else unit - fz
                    jz = iz + np.uintp(dz)
                    for dy in range(2):
                        jy = iy + np.uintp(dy)
                        wy = wz * (fy if dy else unit - fy)
                        low, high = wy * (unit - fx), wy * fx
                        real += low * cube[jz, jy, ix, 0] + high * cube[jz, jy, ix + ONE, 0]
                        imaginary += sign * (low * cube[jz, jy, ix, 1] + high * cube[jz, jy, ix + ONE, 1])
                        precision += low * cube[jz, jy, ix, 2] + high * cube[jz, jy, ix + ONE, 2]
                        worth += low * cube[jz, jy, ix, 3] + high * cube[jz, jy, ix + ONE, 3]
            squared = real * real + imaginary * imaginary
            nats += half * squared / (precision + prior[m]) - math.log(unit + precision / prior[m]) - worth
        found[i] = nats
