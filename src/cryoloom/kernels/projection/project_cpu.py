"""Projection of a strip and its transpose, for iterative reconstruction: numba and `vector_code`.

The strip's volume is (z, x, row), so that both directions add whole rows. A column of an image gathers from
every height the two to four voxels whose shadow reaches it, with the weights with which they would take from
it: the pair is each other's transpose, which keeps iterations from drifting.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from cryoloom.kernels.vector.code import (
    HEIGHT_BLOCK,
    ROWS,
    TILT_BLOCK,
    add_rays,
    locate_voxels,
    new_columns,
    pointer,
    sum_tilts,
)

__all__ = ["add_back_projection_numba", "project_numba"]

Floats = NDArray[np.float32]

_X_TILE, _Z_BLOCK, _COLUMN_TILE = 64, 16, 128
"""Sizes of one job. Chosen: the columns it reads stay in the cache."""
_ALMOST_1 = np.float32(1 - 1.2e-7)
"""As in `forward_project_cpu`."""


@numba.njit(parallel=True, fastmath=True, error_model="numpy", nogil=True, cache=True)
def project_numba(volume: Floats, columns: Floats, images: Floats) -> None:
    """See `cryoloom.kernels.projection.project.project`; the same on NumPy arrays."""
    n_tilts, n_columns, _ = images.shape
    n_z, n_x, _ = volume.shape
    geometry = np.empty((n_tilts, 4), np.float32)
    geometry[:, :3] = columns
    geometry[:, 3] = np.float32(1) / columns[:, 1]
    n_tiles = (n_columns + _COLUMN_TILE - 1) // _COLUMN_TILE
    images[:] = 0
    # A block of heights stays in the second-level cache while all tilts look through it.
    for z in range(0, n_z, HEIGHT_BLOCK):
        n_here = min(HEIGHT_BLOCK, n_z - z)
        for job in prange(n_tilts * n_tiles):
            t, tile = job // n_tiles, job % n_tiles
            n_taps = min(n_x, int(np.ceil(2 * geometry[t, 3] - 1e-4)))
            offsets = np.empty(HEIGHT_BLOCK, np.int32)
            weights = np.empty(n_taps * HEIGHT_BLOCK, np.float32)
            for c in range(max(1, tile * _COLUMN_TILE), min(n_columns - 1, (tile + 1) * _COLUMN_TILE)):
                at_first = (c - columns[t, 0] - z * columns[t, 2]) * geometry[t, 3]
                at_last = at_first - (n_here - 1) * columns[t, 2] * geometry[t, 3]
                if max(at_first, at_last) < -n_taps or min(at_first, at_last) > n_x + n_taps:
                    continue
                locate_voxels(
                    np.float32(c),
                    pointer(geometry, t * 4),
                    n_taps,
                    n_x,
                    np.float32(z),
                    pointer(offsets, 0),
                    pointer(weights, 0),
                )
                add_rays(
                    pointer(images, (t * n_columns + c) * ROWS),
                    pointer(volume, z * n_x * ROWS),
                    pointer(offsets, 0),
                    pointer(weights, 0),
                    n_here,
                    n_taps,
                )


@numba.njit(parallel=True, fastmath=True, error_model="numpy", nogil=True, cache=True)
def add_back_projection_numba(images: Floats, columns: Floats, scale: Floats, volume: Floats) -> None:
    """See `cryoloom.kernels.projection.project.add_back_projection`; the same on NumPy arrays."""
    n_tilts, n_columns, _ = images.shape
    n_z, n_x, _ = volume.shape
    n_padded = (n_tilts + TILT_BLOCK - 1) // TILT_BLOCK * TILT_BLOCK
    per_z = np.zeros(n_padded, np.float32)
    per_z[:n_tilts] = columns[:, 2]
    first = np.zeros(n_padded, np.int32)
    first[:n_tilts] = np.arange(n_tilts) * (n_columns * ROWS)
    last = np.float32(n_columns - 1) * _ALMOST_1
    n_z_blocks = (n_z + _Z_BLOCK - 1) // _Z_BLOCK
    for job in prange((n_x + _X_TILE - 1) // _X_TILE * n_z_blocks):
        tile, z_start = job // n_z_blocks, job % n_z_blocks * _Z_BLOCK
        at_z_0 = np.zeros(n_padded, np.float32)
        offsets = np.empty(n_padded, np.int32)
        weights = np.empty(n_padded, np.float32)
        sums = new_columns(1)[0]
        for x in range(tile * _X_TILE, min(n_x, (tile + 1) * _X_TILE)):
            for t in range(n_tilts):
                at_z_0[t] = columns[t, 0] + np.float32(x) * columns[t, 1]
            for z in range(z_start, min(n_z, z_start + _Z_BLOCK)):
                target = pointer(sums, 0)
                sum_tilts(images, (at_z_0, per_z, first), np.float32(z), last, offsets, weights, target)
                for y in range(ROWS):
                    volume[z, x, y] += scale[z, x] * sums[y]
