"""Forward projection of a strip on the CPU: numba, with the innermost sums of back-projection.

The tilt axis is y and all rows y of a strip share the columns, so the sums are those of back-projection with
heights in the place of tilts.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from cryoloom.kernels.vector.code import ROWS, TILT_BLOCK, pointer, sum_tilts

__all__ = ["forward_project_numba", "own_taps_numba"]

Floats = NDArray[np.float32]

_U_TILE = 64
"""Columns of one job. Chosen: enough jobs for all cores."""
_ALMOST_1 = np.float32(1 - 1.2e-7)
"""1 - 2^-23: places stay below the last column, so that each has a right-hand neighbour."""


@numba.njit(parallel=True, fastmath=True, error_model="numpy", nogil=True, cache=True)
def forward_project_numba(volume: Floats, rays: Floats, images: Floats) -> None:
    """See `cryoloom.kernels.projection.forward_project.forward_project`; the same on NumPy arrays."""
    n_z, n_x, _ = volume.shape
    n_tilts, n_u, _ = images.shape
    n_padded = (n_z + TILT_BLOCK - 1) // TILT_BLOCK * TILT_BLOCK
    first = np.zeros(n_padded, np.int32)
    first[:n_z] = np.arange(n_z) * (n_x * ROWS)
    last = np.float32(n_x - 1) * _ALMOST_1
    n_tiles = (n_u + _U_TILE - 1) // _U_TILE
    for job in prange(n_tilts * n_tiles):
        tilt, tile = job // n_tiles, job % n_tiles
        at_u_0 = np.zeros(n_padded, np.float32)
        per_u = np.zeros(n_padded, np.float32)
        for z in range(n_z):
            at_u_0[z] = rays[tilt, 0] + rays[tilt, 2] * np.float32(z)
            per_u[z] = rays[tilt, 1]
        offsets = np.empty(n_padded, np.int32)
        weights = np.empty(n_padded, np.float32)
        for u in range(tile * _U_TILE, min(n_u, (tile + 1) * _U_TILE)):
            target = pointer(images, (tilt * n_u + u) * ROWS)
            sum_tilts(volume, (at_u_0, per_u, first), np.float32(u), last, offsets, weights, target)


@numba.njit(parallel=True, error_model="numpy", nogil=True, cache=True)
def own_taps_numba(scale: Floats, rays: Floats, columns: Floats, n_u: int) -> Floats:
    """See `cryoloom.kernels.projection.forward_project.own_taps`; the same on NumPy arrays."""
    n_z, n_x = scale.shape
    taps = np.zeros((len(rays), n_u, 3), np.float32)
    for tilt in prange(len(rays)):
        per_x = columns[tilt, 1]
        for u in range(n_u):
            for z in range(n_z):
                x = rays[tilt, 0] + rays[tilt, 1] * u + rays[tilt, 2] * z
                if x < 0 or x > n_x - 1:
                    continue
                left = min(int(x), n_x - 2)
                right = x - left
                from_left, from_right = (1 - right) * scale[z, left], right * scale[z, left + 1]
                # The left voxel lies on column u - right * per_x, the other on u + (1 - right) * per_x.
                taps[tilt, u, 0] += from_left * right * per_x
                taps[tilt, u, 2] += from_right * (1 - right) * per_x
                taps[tilt, u, 1] += from_left * (1 - right * per_x) + from_right * (1 - (1 - right) * per_x)
    return taps
