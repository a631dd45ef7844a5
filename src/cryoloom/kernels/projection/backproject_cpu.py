"""Back-projection of one strip on the CPU: numba, with the innermost sums of `vector_code`.

Its limit: an update costs two loads and two fused multiply-adds per register of rows, in the first-level
cache if the voxels of one x are visited along z, where a column is used again about 1 / sin(tilt) times. The
running sums over all tilts stay in registers, so the volume is touched once, not once per tilt.
`benchmarks/backprojection_speed.py` measures it.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from cryoloom.kernels.vector.code import (
    ROWS,
    TILT_BLOCK,
    new_columns,
    pointer,
    prefetch_to_write,
    sum_tilts,
    transpose_8x8,
)

__all__ = [
    "Z_BLOCK",
    "ask_for_rows",
    "back_project_numba",
    "back_project_oblique_numba",
    "store_rows",
]

Floats = NDArray[np.float32]

X_TILE = 64
"""Voxels along x summed before they are transposed to rows: 256 bytes of a row of the volume at a time."""
Z_BLOCK = 16
"""Voxels along z per job: with X_TILE and ROWS 128 kB of sums, which stay in the second-level cache."""


@numba.njit(parallel=True, fastmath=True, error_model="numpy", nogil=True, cache=True)
def back_project_numba(images: Floats, columns: Floats, volume: Floats) -> None:
    """See `cryoloom.kernels.projection.backproject.back_project`; the same on NumPy arrays."""
    n_tilts, n_columns, _ = images.shape
    n_z, _, n_x = volume.shape
    n_z_blocks = (n_z + Z_BLOCK - 1) // Z_BLOCK
    n_x_tiles = (n_x + X_TILE - 1) // X_TILE
    n_padded = (n_tilts + TILT_BLOCK - 1) // TILT_BLOCK * TILT_BLOCK
    # Whole arrays would be compiled as further parallel loops, for seconds.
    per_z, first = np.empty(n_padded, np.float32), np.empty(n_padded, np.int32)
    for t in range(n_padded):
        per_z[t] = columns[t, 2] if t < n_tilts else np.float32(0)
        first[t] = t * n_columns * ROWS if t < n_tilts else 0
    last = np.float32(n_columns - 1.001)  # the left one of the last two columns
    for job in prange(n_x_tiles * n_z_blocks):
        x_tile, z_block = job // n_z_blocks, job % n_z_blocks
        x_start, z_start = x_tile * X_TILE, z_block * Z_BLOCK
        x_stop, z_stop = min(n_x, x_start + X_TILE), min(n_z, z_start + Z_BLOCK)
        at_z_0 = np.zeros(n_padded, np.float32)
        offsets = np.empty(n_padded, np.int32)
        weights = np.empty(n_padded, np.float32)
        sums = new_columns(X_TILE * Z_BLOCK).reshape((X_TILE, Z_BLOCK, ROWS))
        for x in range(x_start, x_stop):
            for t in range(n_tilts):
                at_z_0[t] = columns[t, 0] + np.float32(x) * columns[t, 1]
            ask_for_rows(volume, sums, x_start, z_start, x - x_start)
            for z in range(z_start, z_stop):
                target = pointer(sums, ((x - x_start) * Z_BLOCK + z - z_start) * ROWS)
                sum_tilts(images, (at_z_0, per_z, first), np.float32(z), last, offsets, weights, target)
        store_rows(sums, volume, x_start, x_stop, z_start, z_stop)


@numba.njit(inline="always")
def ask_for_rows(volume: Floats, sums: Floats, x_start: int, z_start: int, share: int) -> None:
    """Ask for a share of a tile's rows in the volume, long before they are written: memory is far away.

    sums : (x, z, 32) of the tile; as many shares as it has voxels along x.
    """
    n_z, n_y, n_x = volume.shape
    x_tile, z_block, _ = sums.shape
    n_rows = z_block * ROWS // x_tile
    for row in range(share * n_rows, (share + 1) * n_rows):
        z, y = z_start + row // ROWS, row % ROWS
        if z < n_z and y < n_y:
            for x in range(x_start, min(n_x, x_start + x_tile), 16):
                prefetch_to_write(pointer(volume, (z * n_y + y) * n_x + x))


@numba.njit(fastmath=True, error_model="numpy", nogil=True, cache=True)
def store_rows(sums: Floats, volume: Floats, x_start: int, x_stop: int, z_start: int, z_stop: int) -> None:
    """Transpose a tile of sums ``(x, z, 32)`` into rows of the volume ``(z, y, x)``."""
    n_y, n_x = volume.shape[1], volume.shape[2]
    z_block = sums.shape[1]
    y_whole, x_whole = n_y // 8 * 8, x_start + (x_stop - x_start) // 8 * 8
    for z in range(z_start, z_stop):
        for y in range(0, y_whole, 8):
            for x in range(x_start, x_whole, 8):
                transpose_8x8(
                    pointer(volume, (z * n_y + y) * n_x + x),
                    n_x,
                    pointer(sums, ((x - x_start) * z_block + z - z_start) * ROWS + y),
                    z_block * ROWS,
                )
        for y in range(n_y):
            for x in range(x_whole if y < y_whole else x_start, x_stop):
                volume[z, y, x] = sums[x - x_start, z - z_start, y]


@numba.njit(parallel=True, fastmath=True, error_model="numpy", nogil=True, cache=True)
def back_project_oblique_numba(images: Floats, columns: Floats, rows: Floats, volume: Floats) -> None:
    """See `cryoloom.kernels.projection.backproject.back_project_oblique`; the same on NumPy arrays."""
    n_tilts, n_columns, n_rows = images.shape
    n_z, n_y, n_x = volume.shape
    last = np.float32(n_columns - 1.001)
    for z in prange(n_z):
        sums = np.empty(n_y, np.float32)
        for x in range(n_x):
            sums[:] = 0
            for t in range(n_tilts):
                u = columns[t, 0] + np.float32(x) * columns[t, 1] + np.float32(z) * columns[t, 2]
                u = min(max(u, np.float32(0.0)), last)
                column = int(u)
                right = u - np.float32(column)
                v = rows[t, 0] + np.float32(z) * rows[t, 1]
                row = int(np.floor(v))
                above = v - np.float32(row)
                for y in range(max(0, -row), min(n_y, n_rows - 1 - row)):
                    low = (np.float32(1) - right) * images[t, column, y + row]
                    low += right * images[t, column + 1, y + row]
                    high = (np.float32(1) - right) * images[t, column, y + row + 1]
                    high += right * images[t, column + 1, y + row + 1]
                    sums[y] += (np.float32(1) - above) * low + above * high
            for y in range(n_y):
                volume[z, y, x] = sums[y]
